package dev.turningpoint.reward;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.image.ImageBatch;
import java.lang.foreign.Arena;
import java.util.Collections;
import java.util.Map;
import org.junit.jupiter.api.Test;

class JpegRewardTest {
    private static final int WIDTH = 120, HEIGHT = 90;

    /** Noise, a smooth pattern and a mixture, of 8 bits a channel. */
    static ImageBatch images(Arena arena) {
        var images = ImageBatch.allocate(arena, 3, 3, HEIGHT, WIDTH);
        for (int kind = 0; kind < 3; kind++) {
            long s = 12345;
            for (int y = 0; y < HEIGHT; y++)
                for (int x = 0; x < WIDTH; x++)
                    for (int c = 0; c < 3; c++) {
                        s = s * 6364136223846793005L + 1442695040888963407L;
                        int noise = (int) (s >>> 56), smooth = x * 2 + y * c + c * 60 & 255;
                        images.set(kind, c, y, x, (kind == 0 ? noise : kind == 1 ? smooth : (smooth * 3 + noise) / 4) / 127.5f - 1);
                    }
        }
        return images;
    }

    /** Pillow 12.3 saves these images with quality=95 in 14267, 4352 and 9245 bytes. */
    @Test
    void sizesArePillows() {
        try (Arena arena = Arena.ofShared()) {
            var batch = new RewardBatch(images(arena), Collections.nCopies(3, new Prompt("noise", "")));
            try (var large = RewardMix.of("large", new RewardSettings("k", Map.of(), s -> {}).create("jpeg-incompressibility"), 2);
                 var small = RewardMix.of("small", new RewardSettings("k", Map.of(), s -> {}).create("jpeg-compressibility"), 2)) {
                assertArrayEquals(new float[] {14.267f, 4.352f, 9.245f}, large.score(0, batch), 1e-6f);
                assertArrayEquals(new float[] {-14.267f / 500, -4.352f / 500, -9.245f / 500}, small.score(0, batch), 1e-8f);
                assertEquals(large.score(0, new RewardBatch(batch.images().slice(1, 1), batch.prompts().subList(1, 2)))[0], 4.352f);
            }
        }
    }
}
