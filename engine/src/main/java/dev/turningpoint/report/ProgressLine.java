package dev.turningpoint.report;

import java.io.PrintWriter;
import java.util.Locale;

/**
 * A bar with figures, rewritten in place on a terminal; elsewhere a plain line now and then, so that a log stays readable. Used by one thread.
 */
public final class ProgressLine implements AutoCloseable {
    private static final int BAR = 24;
    private static final long PLAIN_EVERY_NANOS = 15_000_000_000L;

    private final PrintWriter out;
    private final boolean terminal;
    private final String task;
    private int shown;
    private long lastPlain;
    private boolean ended;

    /** @param terminal whether {@code out} is a terminal that understands a carriage return */
    public ProgressLine(PrintWriter out, boolean terminal, String task) {
        this.out = out;
        this.terminal = terminal;
        this.task = task;
        lastPlain = System.nanoTime() - PLAIN_EVERY_NANOS;
    }

    /** Whether standard output is a terminal. */
    public static boolean onTerminal() {
        return System.console() != null && System.console().isTerminal() && !"dumb".equals(System.getenv("TERM"));
    }

    /**
     * Shows where the work is.
     *
     * @param figures     what else to say: "reward 0.712, 38 images/s"
     * @param secondsLeft negative if unknown
     */
    public void update(long done, long total, String figures, double secondsLeft) {
        String left = secondsLeft < 0 || done >= total ? "" : ", " + duration(secondsLeft) + " left";
        String count = done + "/" + total;
        if (terminal) {
            int full = total == 0 ? BAR : (int) Math.clamp(BAR * done / total, 0, BAR);
            String line = task + " " + "█".repeat(full) + "░".repeat(BAR - full) + " " + count + " " + figures + left;
            out.print("\r" + line + " ".repeat(Math.max(0, shown - line.length())));
            out.flush();
            shown = line.length();
        } else if (done >= total ? !ended : System.nanoTime() - lastPlain >= PLAIN_EVERY_NANOS) {   // the end is told once
            ended = done >= total;
            lastPlain = System.nanoTime();
            out.println(task + " " + count + " " + figures + left);
            out.flush();
        }
    }

    /** Prints a line that stays, above the bar. */
    public void say(String line) {
        if (shown > 0) out.print("\r" + " ".repeat(shown) + "\r");
        shown = 0;
        out.println(line);
        out.flush();
    }

    /** Hours, minutes and seconds as far as they matter: 1h05m, 12m30s, 8s. */
    public static String duration(double seconds) {
        long s = Math.round(Math.max(0, seconds));
        return s >= 3600 ? String.format(Locale.ROOT, "%dh%02dm", s / 3600, s / 60 % 60) : s >= 60 ? String.format(Locale.ROOT, "%dm%02ds", s / 60, s % 60) : s + "s";
    }

    @Override
    public void close() {
        if (shown > 0) out.println();
        out.flush();
        shown = 0;
    }
}
