package dev.turningpoint.softgpu.ptx;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a PTX text says it needs, in its first two directives.
 *
 * @param version PTX ISA version as 10 * major + minor
 * @param target  the architecture as written, {@code sm_90a}
 */
public record PtxHeader(int version, String target) {
    private static final String GAP = "(?:\\s|//[^\\n]*+\\n|/\\*(?s:.*?)\\*/)*+";
    private static final Pattern HEADER = Pattern.compile(GAP + "\\.version\\s++(\\d{1,4})\\.(\\d)" + GAP + "\\.target\\s++(\\w++)");

    /** @throws PtxException if the text does not begin with {@code .version} and {@code .target} */
    public static PtxHeader of(String module, String text) {
        Matcher m = HEADER.matcher(text);
        if (!m.lookingAt()) throw new PtxException(module, 1, "PTX begins with .version and .target");
        return new PtxHeader(10 * Integer.parseInt(m.group(1)) + Integer.parseInt(m.group(2)), m.group(3));
    }

    /** The number of the architecture: 90 for {@code sm_90a}; 0 if it is none. */
    public int architecture() {
        Matcher m = Pattern.compile("sm_(\\d{2,3})[af]?").matcher(target);
        return m.matches() ? Integer.parseInt(m.group(1)) : 0;
    }
}
