package dev.turningpoint.softgpu.driver;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;

/** Calls that fail at their n-th use, as {@code -Dturningpoint.software.fail=cuMemAlloc_v2:3:2,cublasLtMatmul:1:13} says: function, use counted from 1, code. */
public final class PlannedFailures implements Interception {
    private record Failure(String function, long use, int code, AtomicLong uses) {}

    private final List<Failure> failures = new ArrayList<>();

    /**
     * @param served functions there are
     * @throws IllegalArgumentException naming the part that cannot be read
     */
    public PlannedFailures(String plan, Stubs... served) {
        for (String part : plan.split(",")) {
            String[] fields = part.strip().split(":");
            try {
                if (fields.length != 3) throw new NumberFormatException();
                var failure = new Failure(fields[0], Long.parseLong(fields[1]), Integer.parseInt(fields[2]), new AtomicLong());
                if (failure.use < 1 || failure.code == 0) throw new NumberFormatException();
                boolean known = false;
                for (Stubs s : served) known |= s.functions().containsKey(failure.function);
                if (!known) throw new IllegalArgumentException("'" + part.strip() + "' names no served function");
                failures.add(failure);
            } catch (NumberFormatException e) {
                throw new IllegalArgumentException("'" + part.strip() + "' is not FUNCTION:USE:CODE, as cuMemAlloc_v2:3:2, with uses counted from 1", e);
            }
        }
    }

    @Override
    public int before(String function) {
        int code = 0;
        for (Failure f : failures)
            if (f.function.equals(function) && f.uses.incrementAndGet() == f.use) code = f.code;
        return code;
    }
}
