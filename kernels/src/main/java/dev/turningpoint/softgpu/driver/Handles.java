package dev.turningpoint.softgpu.driver;

/** Objects behind the opaque pointers that C callers hold. A handle that was given back is never valid again, and looks like no address. */
final class Handles {
    private static final long MARK = 0x5500_0000_0000L << 16;  // not canonical: whoever follows it faults
    private static final int INDEX_BITS = 22;
    private static volatile Object[] objects = new Object[256];
    private static int[] generations = new int[256];
    private static int[] free = new int[256];
    private static int freeCount, used = 1;

    private Handles() {}

    static synchronized long add(Object object) {
        int index = freeCount > 0 ? free[--freeCount] : used++;
        if (index >= objects.length) {
            if (index >= 1 << INDEX_BITS) throw Code.OUT_OF_MEMORY.error("more than " + index + " driver objects alive");
            generations = java.util.Arrays.copyOf(generations, index * 2);
            free = java.util.Arrays.copyOf(free, index * 2);
            objects = java.util.Arrays.copyOf(objects, index * 2);
        }
        objects[index] = object;
        objects = objects;  // publish
        return MARK | (long) (generations[index] & 0xfffff) << INDEX_BITS + 4 | (long) index << 4;
    }

    static <T> T get(long handle, Class<T> type) {
        T found = find(handle, type);
        if (found == null) throw Code.INVALID_HANDLE.error("0x" + Long.toHexString(handle) + " is no " + type.getSimpleName().toLowerCase(java.util.Locale.ROOT));
        return found;
    }

    /** Null if the handle is not one, was given back or is of another type. */
    static <T> T find(long handle, Class<T> type) {
        if ((handle & MARK) != MARK || (handle & 15) != 0) return null;
        int index = (int) (handle >>> 4) & (1 << INDEX_BITS) - 1;
        Object[] now = objects;
        if (index >= now.length || (generations[index] & 0xfffff) != (handle >>> INDEX_BITS + 4 & 0xfffff)) return null;
        Object object = now[index];
        return type.isInstance(object) ? type.cast(object) : null;
    }

    static synchronized <T> T remove(long handle, Class<T> type) {
        T object = get(handle, type);
        int index = (int) (handle >>> 4) & (1 << INDEX_BITS) - 1;
        objects[index] = null;
        generations[index]++;
        free[freeCount++] = index;
        return object;
    }
}
