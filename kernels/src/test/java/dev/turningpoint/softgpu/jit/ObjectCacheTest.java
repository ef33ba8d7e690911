package dev.turningpoint.softgpu.jit;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

class ObjectCacheTest {
    @Test
    void onlyWholeEntriesAreTaken(@TempDir Path folder) throws Exception {
        withProperties(folder, 1 << 20, () -> {
            byte[] object = new byte[5000];
            new Random(1).nextBytes(object);
            String key = ObjectCache.hash("a", "b");
            assertNotEquals(key, ObjectCache.hash("ab", ""));
            assertNull(ObjectCache.read(key));
            ObjectCache.write(key, new ObjectCache.Entry(object, 640, 128, List.of("line one")));
            ObjectCache.Entry e = ObjectCache.read(key);
            assertArrayEquals(object, e.object());
            assertEquals(640, e.scratchBytes());
            assertEquals(128, e.sharedBytes());
            assertEquals(List.of("line one"), e.report());

            Path file = folder.resolve("kernels").resolve(key + ".o");
            byte[] whole = Files.readAllBytes(file);
            for (int at : new int[]{0, 10, 100, 4000, whole.length - 1}) {
                byte[] bad = whole.clone();
                bad[at] ^= 4;
                Files.write(file, bad);
                assertNull(ObjectCache.read(key), "a flipped bit at " + at);
            }
            Files.write(file, java.util.Arrays.copyOf(whole, whole.length / 2));
            assertNull(ObjectCache.read(key), "half a file");
            Files.write(file, new byte[0]);
            assertNull(ObjectCache.read(key), "an empty file");
            Path other = folder.resolve("kernels").resolve(ObjectCache.hash("c") + ".o");
            Files.write(other, whole);
            assertNull(ObjectCache.read(ObjectCache.hash("c")), "an entry of another key");
        });
    }

    @Test
    void whatWasNotUsedForTheLongestTimeMakesRoom(@TempDir Path folder) throws Exception {
        withProperties(folder, 30_000, () -> {
            String[] keys = new String[5];
            for (int i = 0; i < keys.length; i++) {
                keys[i] = ObjectCache.hash("entry", Integer.toString(i));
                ObjectCache.write(keys[i], new ObjectCache.Entry(new byte[5000], 0, 0, List.of()));
                Files.setLastModifiedTime(file(folder, keys[i]), FileTime.from(Instant.now().minusSeconds(1000 - i)));
            }
            Path unfinished = Files.write(file(folder, "old").resolveSibling("old.part"), new byte[10]);
            Files.setLastModifiedTime(unfinished, FileTime.from(Instant.now().minusSeconds(7200)));
            Path underWay = Files.write(file(folder, "new").resolveSibling("new.part"), new byte[10]);
            assertNotNull(ObjectCache.read(keys[0]));   // used again: 1 and 2 are the oldest now
            String large = ObjectCache.hash("large");
            ObjectCache.write(large, new ObjectCache.Entry(new byte[12_000], 0, 0, List.of()));
            assertNotNull(ObjectCache.read(large));
            for (int i = 0; i < keys.length; i++) assertEquals(i != 1 && i != 2, Files.exists(file(folder, keys[i])), "entry " + i);
            assertFalse(Files.exists(unfinished), "what a process that died left behind");
            assertTrue(Files.exists(underWay), "what another process is writing");
            String huge = ObjectCache.hash("huge");
            ObjectCache.write(huge, new ObjectCache.Entry(new byte[40_000], 0, 0, List.of()));
            assertNotNull(ObjectCache.read(huge), "an entry that is just written stays, whatever the limit");
        });
    }

    @Test
    void entriesAreWholeWhoeverWritesAndDeletes(@TempDir Path folder) throws Exception {
        withProperties(folder, 60_000, () -> {
            byte[][] objects = new byte[8][20_000];
            for (int i = 0; i < objects.length; i++) Arrays.fill(objects[i], (byte) (i + 1));
            var found = new AtomicInteger();
            try (var pool = Executors.newFixedThreadPool(4)) {
                var all = new ArrayList<Future<?>>();
                for (int t = 0; t < 4; t++) {
                    var random = new Random(t);
                    all.add(pool.submit(() -> {
                        for (int n = 0; n < 100; n++) {
                            int i = random.nextInt(objects.length);
                            String key = ObjectCache.hash("shared", Integer.toString(i));
                            ObjectCache.Entry e = ObjectCache.read(key);
                            if (e == null) ObjectCache.write(key, new ObjectCache.Entry(objects[i], i, 0, List.of()));
                            else {
                                found.incrementAndGet();
                                assertArrayEquals(objects[i], e.object());
                                assertEquals(i, e.scratchBytes());
                            }
                        }
                    }));
                }
                for (Future<?> f : all) f.get();
            }
            assertTrue(found.get() > 0);
        });
    }

    private static Path file(Path folder, String key) { return folder.resolve("kernels").resolve(key + ".o"); }

    private interface Body { void run() throws Exception; }

    private static void withProperties(Path folder, long mostBytes, Body body) throws Exception {
        String cache = System.setProperty("turningpoint.cache", folder.toString()), bytes = System.setProperty("turningpoint.software.cacheBytes", Long.toString(mostBytes));
        try {
            body.run();
        } finally {
            restore("turningpoint.cache", cache);
            restore("turningpoint.software.cacheBytes", bytes);
        }
    }

    private static void restore(String property, String value) {
        if (value == null) System.clearProperty(property); else System.setProperty(property, value);
    }
}
