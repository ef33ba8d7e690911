package dev.turningpoint.softgpu.fuzz;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What the fuzzer covers: each instruction that nvcc writes into our kernels and into those that test the software GPU. */
class GeneratedInstructionsTest {
    private static final int KERNELS = 30_000;
    private static final Pattern INSTRUCTION = Pattern.compile("\\s*(?:@!?%\\w+\\s+)?([a-z]\\w*(?:\\.[\\w:]+)*)(\\s.*)?", Pattern.DOTALL);
    /** Not of what an instruction does: the scope and order of an access, which nobody sees here who does not wait, and where a wmma's matrix lies. */
    private static final Set<String> ASIDE = Set.of("volatile", "relaxed", "acquire", "release", "acq_rel", "cta", "gpu", "sys", "nc", "uni", "rn");

    /** Those that are not generated, and why. */
    private static final List<String> LEFT_OUT = List.of(
            "bra.uni",                          // uni only promises
            "activemask",                       // which lanes run together is nowhere defined
            "cp.async.mbarrier.arrive",         // WaitingTest
            "ld.param", "st.param");            // arguments of other types than a call's two: CallTest

    @Test
    void eachInstructionOfOurKernelsIsGenerated() throws IOException, URISyntaxException {
        var written = new TreeSet<String>();
        for (String root : List.of("/dev/turningpoint/softgpu/ops.ptx", "/dev/turningpoint/kernels/mlp.ptx")) {
            Path folder = Path.of(GeneratedInstructionsTest.class.getResource(root).toURI()).getParent();
            try (var files = Files.walk(folder)) {
                for (Path p : files.filter(f -> f.toString().endsWith(".ptx")).toList()) instructions(Files.readString(p), written);
            }
        }
        written.removeIf(i -> LEFT_OUT.stream().anyMatch(i::startsWith));
        var generated = new TreeSet<String>();
        for (long seed = 1; seed <= KERNELS && (seed % 500 != 0 || !generated.containsAll(written)); seed++) instructions(new Fuzzer(seed).text(), generated);
        var missing = new ArrayList<>(written);
        missing.removeAll(generated);
        assertEquals(List.of(), missing);
    }

    private static void instructions(String text, Set<String> into) {
        for (String statement : text.replaceAll("//[^\n]*", "").split("[;{}]")) {
            for (String line : statement.split(":\\s*\n")) {
                Matcher m = INSTRUCTION.matcher(line);
                if (m.matches() && m.group(1).contains(".")) into.add(kind(m.group(1)));
            }
        }
    }

    /** The instruction without what is aside; of accesses to memory the width alone where the type does not matter. */
    private static String kind(String instruction) {
        var parts = new ArrayList<>(List.of(instruction.replace("shared::cta", "shared").split("\\.")));
        String opcode = parts.getFirst();
        if (opcode.equals("cvt") || opcode.equals("add") || opcode.equals("mul") || opcode.equals("sub") || opcode.equals("fma") || opcode.equals("setp")) return instruction;
        if (opcode.equals("bra")) return "bra.uni";
        parts.removeIf(ASIDE::contains);
        if (opcode.equals("wmma")) parts.removeIf(p -> p.equals("global") || p.equals("shared"));
        if (opcode.equals("ld") || opcode.equals("st") || opcode.equals("mov")) {
            String type = parts.getLast();
            if (type.endsWith("32") || type.endsWith("64") || opcode.equals("st") || type.endsWith("16") && type.charAt(0) != 's') parts.set(parts.size() - 1, type.substring(1));
        }
        return String.join(".", parts);
    }
}
