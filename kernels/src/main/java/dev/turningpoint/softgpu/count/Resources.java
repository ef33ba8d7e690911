package dev.turningpoint.softgpu.count;

import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxModule;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What ptxas gave a kernel on one architecture. Of this project's kernels {@code kernels/build-ptx.sh} writes it down ({@code ptxas.txt} beside the PTX); other
 * modules are assembled here, if there is a ptxas on PATH.
 *
 * @param registers a thread
 * @param shared    bytes of static shared memory of a block
 * @param spills    bytes a thread stores and loads because registers did not suffice, and bytes of its stack
 */
public record Resources(int registers, int shared, int spills) {
    private static final String FOLDER = "/dev/turningpoint/kernels/";
    private static final Map<Foreign, Optional<Resources>> ASSEMBLED = new ConcurrentHashMap<>();
    private static final Map<String, String> TEXTS = new ConcurrentHashMap<>();

    private record Key(String kernel, int architecture) {}
    private record Foreign(PtxKernel kernel, int architecture) {}

    /** {@code module kernel architecture registers shared spills} of each kernel of the project. */
    private static final class Table {
        static final Map<Key, Resources> ROWS = new HashMap<>();
        static final Map<String, String> MODULES = new HashMap<>();

        static {
            for (String line : text("ptxas.txt").lines().toList()) {
                if (line.startsWith("#")) continue;
                String[] f = line.split(" ");
                ROWS.put(new Key(f[1], Integer.parseInt(f[2])), new Resources(Integer.parseInt(f[3]), Integer.parseInt(f[4]), Integer.parseInt(f[5])));
                MODULES.put(f[1], f[0]);
            }
        }
    }

    /** Of a kernel on a GPU; null if it is none of this project's and there is no ptxas. */
    public static Resources of(PtxModule module, PtxKernel kernel, Gpu gpu) {
        Resources known = known(kernel, gpu);
        return known != null ? known : ASSEMBLED.computeIfAbsent(new Foreign(kernel, gpu.architecture), k -> Optional.ofNullable(assembled(module, kernel.name(), gpu.architecture))).orElse(null);
    }

    /** Of a kernel of this project; null if it is none. */
    public static Resources known(PtxKernel kernel, Gpu gpu) {
        String file = Table.MODULES.get(kernel.name());
        boolean ours = file != null && TEXTS.computeIfAbsent(file + ".ptx", Resources::text).contains(kernel.text());
        return ours ? Table.ROWS.get(new Key(kernel.name(), gpu.architecture)) : null;
    }

    private static String text(String file) {
        try (InputStream in = Resources.class.getResourceAsStream(FOLDER + file)) {
            if (in == null) throw new IllegalStateException(file + " is not on the class path; kernels/build-ptx.sh makes it");
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    // ---- ptxas

    private static final Pattern ENTRY = Pattern.compile("Compiling entry function '([^']+)'"),
            STACK = Pattern.compile("(\\d+) bytes stack frame, (\\d+) bytes spill stores, (\\d+) bytes spill loads"),
            USED = Pattern.compile("Used (\\d+) registers"), SHARED = Pattern.compile("(\\d+) bytes smem");

    private static Resources assembled(PtxModule module, String kernel, int architecture) {
        Path ptx = null;
        try {
            ptx = Files.createTempFile("turningpoint", ".ptx");
            Files.writeString(ptx, module.text());
            Process ptxas = new ProcessBuilder("ptxas", "-v", "-arch=sm_" + architecture, "-o", "/dev/null", ptx.toString()).redirectErrorStream(true).start();
            String said = new String(ptxas.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            return ptxas.waitFor() == 0 ? read(said).get(kernel) : null;
        } catch (IOException e) {
            return null;   // no ptxas here
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return null;
        } finally {
            if (ptx != null) ptx.toFile().delete();
        }
    }

    /** What {@code ptxas -v} says, by kernel. */
    static Map<String, Resources> read(String said) {
        var found = new HashMap<String, Resources>();
        String kernel = null;
        int spills = 0;
        for (String line : said.lines().toList()) {
            Matcher m = ENTRY.matcher(line);
            if (m.find()) kernel = m.group(1);
            m = STACK.matcher(line);
            if (m.find()) spills = Integer.parseInt(m.group(1)) + Integer.parseInt(m.group(2)) + Integer.parseInt(m.group(3));
            m = USED.matcher(line);
            if (kernel != null && m.find()) {
                Matcher shared = SHARED.matcher(line);
                found.put(kernel, new Resources(Integer.parseInt(m.group(1)), shared.find() ? Integer.parseInt(shared.group(1)) : 0, spills));
                kernel = null;
                spills = 0;
            }
        }
        return found;
    }
}
