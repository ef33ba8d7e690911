package dev.turningpoint.image;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.lwjgl.stb.STBTTFontinfo;
import org.lwjgl.stb.STBTruetype;

/** A TrueType font and the coverage bitmaps of its letters, rendered by stb_truetype without hinting; thread safe. */
public final class GlyphFont {
    private static final String BUNDLED = "JetBrainsMono-Regular.ttf";

    /**
     * One letter at one size, anchored at its pen position on the baseline.
     *
     * @param left   column of the bitmap's first column
     * @param top    row of its first row, negative above the baseline
     * @param width  columns
     * @param height rows
     * @param alpha  coverage 0 to 255, row by row
     */
    public record Bitmap(int left, int top, int width, int height, byte[] alpha) {}

    private record Key(int codePoint, float size) {}

    private final String name;
    private final STBTTFontinfo info;
    private final ByteBuffer file;   // info points into it
    private final Map<Key, Bitmap> bitmaps = new ConcurrentHashMap<>();

    private GlyphFont(String name, byte[] bytes) {
        this.name = name;
        String defect = defect(bytes);
        if (defect != null) throw new FontException("font " + name + ": " + defect);
        MemorySegment memory = Arena.ofAuto().allocate(bytes.length, 16);
        MemorySegment.copy(bytes, 0, memory, ValueLayout.JAVA_BYTE, 0, bytes.length);
        file = memory.asByteBuffer();
        info = STBTTFontinfo.create();
        if (!STBTruetype.stbtt_InitFont(info, file)) throw new FontException("font " + name + ": stb_truetype does not understand it");
    }

    /** JetBrains Mono, which ships with the engine under the SIL Open Font License. */
    public static GlyphFont bundled() {
        try (InputStream in = GlyphFont.class.getResourceAsStream(BUNDLED)) {
            if (in == null) throw new IllegalStateException("font " + BUNDLED + " is missing from the engine's jar: build it again");
            return new GlyphFont(BUNDLED, in.readAllBytes());
        } catch (IOException e) {
            throw new IllegalStateException("font " + BUNDLED + " cannot be read from the engine's jar: " + e.getMessage(), e);
        }
    }

    /**
     * @param path a TrueType file
     * @throws FontException if there is none or it is damaged; one line names the file
     */
    public static GlyphFont open(Path path) {
        try {
            return new GlyphFont(path.toString(), Files.readAllBytes(path));
        } catch (NoSuchFileException e) {
            throw new FontException("font " + path + ": there is no such file; name a .ttf file, or leave the font out to take the bundled one", e);
        } catch (IOException e) {
            throw new FontException("font " + path + ": cannot be read" + (Files.isDirectory(path) ? ", it is a folder" : ": " + e.getMessage()), e);
        }
    }

    /** stb_truetype trusts a font's table directory, so it is checked here: what is wrong, or null. */
    private static String defect(byte[] bytes) {
        ByteBuffer b = ByteBuffer.wrap(bytes);
        if (bytes.length < 12) return "has " + bytes.length + " bytes and is no TrueType font";
        int magic = b.getInt(0);
        if (magic != 0x00010000 && magic != 0x74727565) return "is no TrueType font (OpenType with CFF outlines, collections and woff are not read)";
        int tables = b.getShort(4) & 0xffff;
        if (12 + 16L * tables > bytes.length) return "is truncated";
        var missing = new java.util.TreeSet<>(java.util.List.of("cmap", "glyf", "head", "hhea", "hmtx", "loca", "maxp"));
        for (int i = 0; i < tables; i++) {
            int entry = 12 + 16 * i;
            String tag = new String(bytes, entry, 4, java.nio.charset.StandardCharsets.ISO_8859_1);
            long offset = b.getInt(entry + 8) & 0xffffffffL, length = b.getInt(entry + 12) & 0xffffffffL;
            if (offset + length > bytes.length)
                return "is truncated: table '" + tag + "' ends at byte " + (offset + length) + ", the file at " + bytes.length;
            missing.remove(tag);
        }
        return missing.isEmpty() ? null : "has no table " + missing.first();
    }

    /**
     * A letter's bitmap.
     *
     * @param size pixels of the em, what a type designer calls the size
     * @throws FontException if the font lacks the letter
     */
    public Bitmap bitmap(int codePoint, float size) {
        return bitmaps.computeIfAbsent(new Key(codePoint, size), key -> {
            int glyph = STBTruetype.stbtt_FindGlyphIndex(info, codePoint);
            if (glyph == 0) throw new FontException("font " + name + " has no letter '" + Character.toString(codePoint) + "'");
            float scale = scale(size);
            int[] x0 = new int[1], y0 = new int[1], x1 = new int[1], y1 = new int[1];
            STBTruetype.stbtt_GetGlyphBitmapBox(info, glyph, scale, scale, x0, y0, x1, y1);
            int width = x1[0] - x0[0], height = y1[0] - y0[0];
            byte[] alpha = new byte[width * height];
            if (alpha.length > 0) {
                ByteBuffer out = ByteBuffer.allocateDirect(alpha.length);
                STBTruetype.stbtt_MakeGlyphBitmap(info, out, width, height, width, scale, scale, glyph);
                out.get(alpha);
            }
            return new Bitmap(x0[0], y0[0], width, height, alpha);
        });
    }

    /** Pixels from one letter to the next at this size, before rounding. */
    public float advance(int codePoint, float size) {
        int[] advance = new int[1], bearing = new int[1];
        STBTruetype.stbtt_GetGlyphHMetrics(info, STBTruetype.stbtt_FindGlyphIndex(info, codePoint), advance, bearing);
        return advance[0] * scale(size);
    }

    private float scale(float size) {
        return STBTruetype.stbtt_ScaleForMappingEmToPixels(info, size);
    }
}
