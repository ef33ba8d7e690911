package dev.turningpoint.softgpu.jit;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

class ObjectCacheTest {
    @Test
    void onlyWholeEntriesAreTaken(@TempDir Path folder) throws Exception {
        String before = System.setProperty("turningpoint.cache", folder.toString());
        try {
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
        } finally {
            if (before == null) System.clearProperty("turningpoint.cache"); else System.setProperty("turningpoint.cache", before);
        }
    }
}
