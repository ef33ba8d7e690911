package dev.turningpoint.gpu;

import java.util.Locale;

/** Byte counts for people. */
final class Sizes {

    private static final String[] UNITS = {"bytes", "KB", "MB", "GB", "TB", "PB"};

    private Sizes() {}

    /** {@code 3.2 GB}, {@code 512 KB}, {@code 96 bytes}: decimal units, two figures or more. */
    static String of(long bytes) {
        if (bytes < 10_000) return bytes + " bytes";
        double value = bytes;
        int unit = 0;
        while (value >= 999.5 && unit < 5) {
            value /= 1000;
            unit++;
        }
        return String.format(Locale.ROOT, value < 9.95 ? "%.1f %s" : "%.0f %s", value, UNITS[unit]);
    }

    /** {@code 1.1 of 79.1 GB}. */
    static String of(long part, long whole) {
        var total = of(whole);
        var unit = total.substring(total.indexOf(' '));
        double scale = switch (unit) {
            case " KB" -> 1e3;
            case " MB" -> 1e6;
            case " GB" -> 1e9;
            case " TB" -> 1e12;
            default -> 1;
        };
        return String.format(Locale.ROOT, scale == 1 ? "%.0f of %.0f%s" : "%.1f of %.1f%s", part / scale, whole / scale, unit);
    }
}
