package dev.turningpoint.softgpu.fuzz;

/** How far the results of approximate operations may lie from the true ones, as the PTX manual states it. */
final class Estimates {
    private Estimates() {}

    /** Whether both may be results of the operation for the operand. */
    static boolean agree(String operation, float operand, float a, float b) {
        if (Float.isNaN(a) || Float.isNaN(b)) return Float.isNaN(a) && Float.isNaN(b);
        if (a == b) return true;
        double most = Math.max(Math.abs(a), Math.abs(b)), apart = Math.abs((double) a - b);
        if (operation.contains(".ftz") && most <= Float.MIN_NORMAL * 1.000001) return true;   // at the edge of what is flushed
        double half = Math.ulp((float) most) / 2;   // both are rounded
        return switch (operation.substring(0, operation.indexOf('.'))) {
            case "ex2" -> apart <= 2 * Math.ulp((float) most) + half;
            case "lg2" -> apart <= 0x1p-22 * Math.max(1, operand > 0.5 && operand < 2 ? 1 : most) + half;
            case "sin", "cos" -> Math.abs(operand) <= 2 * Math.PI ? apart <= Math.pow(2, -20.5) + half : Math.abs(operand) > 100 * Math.PI || apart <= Math.pow(2, -14.7) + half;
            case "rsqrt" -> apart <= Math.pow(2, -22.9) * most + half;
            case "rcp" -> apart <= Math.ulp((float) most) + half;
            case "sqrt" -> apart <= 0x1p-23 * most + half;
            case "tanh" -> apart <= 0x1p-11 * most + half;
            default -> throw new IllegalArgumentException(operation);
        };
    }
}
