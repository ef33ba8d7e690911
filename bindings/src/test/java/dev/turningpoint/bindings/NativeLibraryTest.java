package dev.turningpoint.bindings;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.bindings.cublaslt.CublasLt;
import dev.turningpoint.bindings.cublaslt.cublasLtMatmulAlgo_t;
import dev.turningpoint.bindings.cublaslt.cublasLtMatmulHeuristicResult_t;
import dev.turningpoint.bindings.cuda.Cuda;
import dev.turningpoint.bindings.llvm.Llvm;
import dev.turningpoint.bindings.onednn.OneDnn;
import dev.turningpoint.bindings.onednn.dnnl_exec_arg_t;
import java.io.File;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The libraries load and answer; what is missing is named, with what to do about it. */
class NativeLibraryTest {

    @Test
    void llvmLoadsAndIsTheVersionBound() {
        NativeLibrary.LLVM.load();
        try (var arena = Arena.ofConfined()) {
            MemorySegment major = arena.allocate(ValueLayout.JAVA_INT), minor = arena.allocate(ValueLayout.JAVA_INT), patch = arena.allocate(ValueLayout.JAVA_INT);
            Llvm.LLVMGetVersion(major, minor, patch);
            assertEquals(Llvm.LLVM_VERSION_MAJOR(), major.get(ValueLayout.JAVA_INT, 0));
            assertEquals(Llvm.LLVM_VERSION_MINOR(), minor.get(ValueLayout.JAVA_INT, 0));
            MemorySegment cpu = Llvm.LLVMGetHostCPUName();
            assertFalse(cpu.getString(0).isEmpty());
            Llvm.LLVMDisposeMessage(cpu);
        }
    }

    @Test
    void oneDnnLoadsIsTheVersionBoundAndMultiplies() {
        NativeLibrary.ONEDNN.load();
        assertEquals(OneDnn.DNNL_VERSION_MAJOR(), OneDnn.dnnl_version().get(ValueLayout.JAVA_INT, 0));
        assertEquals(OneDnn.DNNL_VERSION_MINOR(), OneDnn.dnnl_version().get(ValueLayout.JAVA_INT, 4));
        OpenMp.setThreads(1);
        try (var arena = Arena.ofConfined()) {
            MemorySegment a = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 2, 3, 4), b = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 5, 6, 7, 8), c = arena.allocate(16);
            assertEquals(OneDnn.dnnl_success(), OneDnn.dnnl_sgemm((byte) 'N', (byte) 'N', 2, 2, 2, 1f, a, 2, b, 2, 0f, c, 2));
            assertEquals(List.of(19f, 22f, 43f, 50f), List.of(at(c, 0), at(c, 1), at(c, 2), at(c, 3)));
        }
    }

    private static float at(MemorySegment s, int i) {
        return s.getAtIndex(ValueLayout.JAVA_FLOAT, i);
    }

    /** Numbers of the ABI, from the vendors' documentation: a header of the wrong generation would change them. */
    @Test
    void constantsAndLayoutsAreThoseOfTheAbi() {
        assertEquals(13000, Cuda.CUDA_VERSION());
        assertEquals(2, Cuda.CUDA_ERROR_OUT_OF_MEMORY());
        assertEquals(700, Cuda.CUDA_ERROR_ILLEGAL_ADDRESS());
        assertEquals(16, Cuda.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT());
        assertEquals(8, Cuda.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES());
        assertEquals(0, CublasLt.CUDA_R_32F());
        assertEquals(14, CublasLt.CUDA_R_16BF());
        assertEquals(68, CublasLt.CUBLAS_COMPUTE_32F());
        assertEquals(4, CublasLt.CUBLASLT_EPILOGUE_BIAS());
        assertEquals(64, cublasLtMatmulAlgo_t.sizeof());
        assertEquals(64 + 8 + 4 + 4 + 16, cublasLtMatmulHeuristicResult_t.sizeof());
        assertEquals(16, dnnl_exec_arg_t.sizeof());
    }

    @ParameterizedTest
    @EnumSource(names = {"LLVM", "ONEDNN"})
    void everyBoundFunctionIsInTheLibraryOfOurJar(NativeLibrary library) {
        var functions = library.boundFunctions();
        assertTrue(functions.size() > 40, "an include list of " + functions.size());
        for (var function : functions) assertNotEquals(0, library.symbols().findOrThrow(function).address());
    }

    @Test
    void missingSymbolNamesItselfAndTheLibrary() {
        var e = assertThrows(NativeLibraryException.class, () -> NativeLibrary.LLVM.symbols().find("LLVMNoSuchThing"));
        assertTrue(e.getMessage().contains("LLVM 20 has no function 'LLVMNoSuchThing'"), e.getMessage());
    }

    @Test
    void missingLibraryNamesTheFileWhatWasTriedAndWhatToDo() {
        var e = NativeLibrary.CUBLASLT.missingLibrary("libcublasLt.so.13", List.of(DynamicLoader.whyNot("libcublasLt-of-nobody.so"), "/usr/local/x.so: no such file"));
        assertTrue(e.getMessage().startsWith("cuBLAS of CUDA 13 is missing: libcublasLt.so.13 was not found."), e.getMessage());
        assertTrue(e.getMessage().contains("libcublasLt-of-nobody.so: cannot open shared object file"), e.getMessage());
        assertTrue(e.getMessage().contains("-Dturningpoint.cublaslt=PATH"), e.getMessage());
    }

    @Test
    void oldDriverSaysWhatItIsAndWhatIsNeeded() {
        var e = assertThrows(NativeLibraryException.class, () -> NativeLibrary.requireDriver(12040));
        assertTrue(e.getMessage().contains("serves CUDA 12.4, needed is 13.0"), e.getMessage());
        NativeLibrary.requireDriver(13000);
    }

    @Test
    void eachFailureReachesTheUserAsItsOwnMessage(@TempDir Path cache) throws Exception {
        assertFails("--enable-native-access=ALL-UNNAMED", List.of("--illegal-native-access=deny"), "LLVM");
        assertFails("turningpoint.device is 'tpu'; it must be auto, cuda or software.", List.of("--enable-native-access=ALL-UNNAMED", "-Dturningpoint.device=tpu"), "CUDA");
        assertFails("no-such-driver.so was not found", List.of("--enable-native-access=ALL-UNNAMED", "-Dturningpoint.cuda=/no-such-driver.so"), "CUDA");
        assertFails("no software GPU is on the class path", List.of("--enable-native-access=ALL-UNNAMED", "-Dturningpoint.device=software"), "CUDA");
        var file = Files.createFile(cache.resolve("a-file"));
        assertFails("choose another folder by -Dturningpoint.cache=DIR", List.of("--enable-native-access=ALL-UNNAMED", "-Dturningpoint.cache=" + file), "ONEDNN");
    }

    private static void assertFails(String message, List<String> flags, String library) throws Exception {
        var process = java(flags, library);
        var output = new String(process.getInputStream().readAllBytes());
        assertEquals(3, process.waitFor(), output);
        assertTrue(output.contains(message), output);
    }

    @Test
    void processesThatStartTogetherShareOneUnpackedLibrary(@TempDir Path cache) throws Exception {
        var folder = Files.createDirectories(cache.resolve("at-once"));
        var processes = new ArrayList<Process>();
        for (int i = 0; i < 3; i++) processes.add(java(List.of("--enable-native-access=ALL-UNNAMED", "-Dturningpoint.cache=" + folder), "ONEDNN"));
        for (var process : processes) {
            var output = new String(process.getInputStream().readAllBytes());
            assertTrue(process.waitFor(60, TimeUnit.SECONDS));
            assertEquals(0, process.exitValue(), output);
        }
        var library = onlyFolder(folder).resolve("libdnnl.so.3");
        try (var files = Files.list(library.getParent())) {
            assertEquals(List.of(".lock", "libdnnl.so.3", "libgomp.so.1"), files.map(f -> f.getFileName().toString()).sorted().toList());
        }
        // A file cut short by a full disk or a crash is not taken for the library.
        long size = Files.size(library);
        try (var channel = java.nio.channels.FileChannel.open(library, java.nio.file.StandardOpenOption.WRITE)) {
            channel.truncate(size / 2);
        }
        var again = java(List.of("--enable-native-access=ALL-UNNAMED", "-Dturningpoint.cache=" + folder), "ONEDNN");
        var output = new String(again.getInputStream().readAllBytes());
        assertEquals(0, again.waitFor(), output);
        assertEquals(size, Files.size(library));
    }

    private static Path onlyFolder(Path folder) throws Exception {
        try (var entries = Files.list(folder)) {
            var all = entries.toList();
            assertEquals(1, all.size(), all.toString());
            return all.getFirst();
        }
    }

    private static Process java(List<String> flags, String library) throws Exception {
        var command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"));
        command.addAll(flags);
        command.addAll(List.of("-cp", System.getProperty("java.class.path").replace(File.pathSeparator + File.pathSeparator, File.pathSeparator), Load.class.getName(), library));
        return new ProcessBuilder(command).redirectErrorStream(true).start();
    }

    /** Loads one library; 3 and the message if it cannot. */
    static final class Load {
        public static void main(String[] args) {
            try {
                NativeLibrary.valueOf(args[0]).load();
            } catch (NativeLibraryException e) {
                System.out.println(e.getMessage());
                System.exit(3);
            }
        }
    }
}
