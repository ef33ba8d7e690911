package dev.turningpoint.check;

/**
 * How far a value may be from the reference's: {@code |value - reference| <= absolute + relative * scale}.
 *
 * @param relative of {@code scale}: of the reference's own magnitude, or, with {@code ofMax}, of the largest in its tensor
 * @param absolute added to it
 * @param ofMax    what {@code relative} refers to
 */
record Tolerance(double relative, double absolute, boolean ofMax) {
    static final Tolerance EXACT = new Tolerance(0, 0, false);

    static Tolerance relative(double r) { return new Tolerance(r, 0, false); }

    static Tolerance relative(double r, double a) { return new Tolerance(r, a, false); }

    static Tolerance absolute(double a) { return new Tolerance(0, a, false); }

    static Tolerance ofMax(double r) { return new Tolerance(r, 0, true); }

    @Override
    public String toString() {
        if (equals(EXACT)) return "exact";
        String r = relative == 0 ? "" : "rel " + number(relative) + (ofMax ? " of max" : ""), a = absolute == 0 ? "" : "abs " + number(absolute);
        return r + (r.isEmpty() || a.isEmpty() ? "" : " + ") + a;
    }

    private static String number(double d) { return "%.0e".formatted(d).replace("e-0", "e-"); }
}
