package dev.turningpoint.softgpu.driver;

import java.util.ArrayList;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.Predicate;

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
        if (found == null) throw Code.INVALID_HANDLE.error(describe(handle, type));
        return found;
    }

    /** What is wrong with a handle that {@link #find} does not find. */
    static String describe(long handle, Class<?> type) {
        Object other = find(handle, Object.class);
        return "0x" + Long.toHexString(handle) + " is no " + name(type) + (handle == 0 ? "" : other != null ? " but " + article(name(other.getClass())) : wasGiven(handle) ? ": it was given back" : ", and never was a handle");
    }

    private static String article(String noun) { return ("aeiou".indexOf(noun.charAt(0)) < 0 ? "a " : "an ") + noun; }

    /** A type of object in the words of the API. */
    static String name(Class<?> type) {
        return switch (type.getSimpleName()) {
            case "StreamQueue" -> "stream";
            case "LoadedModule" -> "module";
            case "Command" -> "graph node";
            case "Executable" -> "executable graph";
            case "Library" -> "cuBLASLt library";
            case "Layout" -> "matrix layout";
            case "Operation" -> "product description";
            case "Preference" -> "algorithm preference";
            default -> type.getSimpleName().toLowerCase(java.util.Locale.ROOT);
        };
    }

    private static boolean wasGiven(long handle) {
        if ((handle & MARK) != MARK || (handle & 15) != 0) return false;
        int index = (int) (handle >>> 4) & (1 << INDEX_BITS) - 1;
        return index > 0 && index < used && (generations[index] & 0xfffff) > (handle >>> INDEX_BITS + 4 & 0xfffff);
    }

    /** How many objects of each kind are alive. */
    static synchronized Map<String, Integer> living() {
        var counts = new TreeMap<String, Integer>();
        for (Object o : objects) if (o != null) counts.merge(name(o.getClass()), 1, Integer::sum);
        return counts;
    }

    /** Takes back every object that {@code which} says; {@code end} is told of each. Returns how many of what they were, as ", 2 streams, 1 event". */
    static String removeAll(Predicate<Object> which, Consumer<Object> end) {
        var removed = new ArrayList<Object>();
        synchronized (Handles.class) {
            for (int i = 0; i < objects.length; i++) {
                if (objects[i] == null || !which.test(objects[i])) continue;
                removed.add(objects[i]);
                forget(i);
            }
        }
        removed.forEach(end);
        var counts = new TreeMap<String, Integer>();
        for (Object o : removed) counts.merge(name(o.getClass()), 1, Integer::sum);
        var text = new StringBuilder();
        counts.forEach((name, n) -> text.append(counted(n, name)));
        return text.toString();
    }

    static String counted(int n, String noun) { return n == 0 ? "" : ", " + n + " " + noun + (n == 1 ? "" : "s"); }

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
        forget((int) (handle >>> 4) & (1 << INDEX_BITS) - 1);
        return object;
    }

    private static void forget(int index) {
        objects[index] = null;
        generations[index]++;
        free[freeCount++] = index;
    }
}
