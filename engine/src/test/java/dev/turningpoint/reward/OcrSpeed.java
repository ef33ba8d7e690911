package dev.turningpoint.reward;

import dev.turningpoint.image.GlyphFont;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.image.Picture;
import dev.turningpoint.image.WordRenderer;
import dev.turningpoint.text.GlyphAlphabet;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/**
 * Measures the OCR reward on rendered words with jitter: accuracy, and milliseconds an image at one thread for several batch sizes.
 * Arguments: words, height, width, and a PNG to look at.
 */
public final class OcrSpeed {
    public static void main(String[] args) {
        int n = args.length > 0 ? Integer.parseInt(args[0]) : 480, height = args.length > 1 ? Integer.parseInt(args[1]) : 24, width = args.length > 2 ? Integer.parseInt(args[2]) : 64;
        var random = new SplittableRandom(1);
        var renderer = new WordRenderer(GlyphFont.bundled(), height, width);
        List<String> words = new ArrayList<>();
        try (Arena arena = Arena.ofShared(); LineReader reader = new LineReader(true); var lane = reader.new Lane(height, width)) {
            var images = ImageBatch.allocate(arena, n, height, width);
            for (int i = 0; i < n; i++) {
                var w = new StringBuilder();
                for (int k = 3 + random.nextInt(2); k > 0; k--) w.append(GlyphAlphabet.LETTERS.charAt(random.nextInt(31)));
                words.add(w.toString());
                renderer.render(words.get(i), random, images, i);
            }
            if (args.length > 3) Picture.grid(images.slice(0, Math.min(32, n)), words.subList(0, Math.min(32, n)), 8, 2).write(Path.of(args[3]));
            for (int batch : new int[] {16, 1, 2, 4, 8, 16}) {
                double sum = 0;
                long start = System.nanoTime();
                for (int i = 0; i < n; i += batch) {
                    int count = Math.min(batch, n - i);
                    String[] read = lane.read(images, i, count, k -> "image " + k);
                    for (int k = 0; k < count; k++) {
                        float r = TextMatch.reward(words.get(i + k), read[k]);
                        sum += r;
                        if (r < 1 && batch == 1) System.out.println(words.get(i + k) + " read as " + read[k]);
                    }
                }
                System.out.printf("batch %2d: reward %.4f, %.2f ms an image%n", batch, sum / n, (System.nanoTime() - start) / 1e6 / n);
            }
        }
    }
}
