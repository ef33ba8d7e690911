package dev.turningpoint.bindings;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.ServiceLoader;

/**
 * The native libraries we call, and where their symbols come from: the one hand-written line between the generated bindings and the machine.
 *
 * <p>{@link #CUDA} and {@link #CUBLASLT} come from the NVIDIA driver and toolkit, or from the {@link SoftwareGpu} where there is none;
 * {@link #LLVM} and {@link #ONEDNN} are unpacked once from the jars on the class path ({@link NativeCache}).
 *
 * <p>System properties: {@code turningpoint.device} = {@code auto} (default), {@code cuda} or {@code software};
 * {@code turningpoint.cuda} and {@code turningpoint.cublaslt} name the file of a library that the loader does not find by itself.
 */
public enum NativeLibrary {
    CUDA("cuda", "the NVIDIA driver", "libcuda.so.1", "/usr/lib/x86_64-linux-gnu/libcuda.so.1", "/usr/lib64/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"),
    CUBLASLT("cublaslt", "cuBLAS of CUDA 13", "libcublasLt.so.13", "/usr/local/cuda/lib64/libcublasLt.so.13", "/usr/lib/x86_64-linux-gnu/libcublasLt.so.13"),
    LLVM("llvm", "LLVM 20"),
    ONEDNN("onednn", "oneDNN 3");

    /** The CUDA version whose API we bind; a driver must serve at least this one. */
    static final int NEEDED_DRIVER = 13000;

    private static final int CUDA_ERROR_NO_DEVICE = 100;

    private final String includes;
    private final String title;
    private final List<String> candidates;
    private final Object lock = new Object();
    private volatile SymbolLookup resolved;

    NativeLibrary(String includes, String title, String... candidates) {
        this.includes = includes;
        this.title = title;
        this.candidates = List.of(candidates);
    }

    /**
     * The library's symbols, looked up when they are first asked for: the constants of a generated class can be read where the library is missing.
     * A name it does not have is a {@link NativeLibraryException}.
     */
    public SymbolLookup symbols() {
        return name -> {
            var found = resolve().find(name);
            if (found.isEmpty()) throw missingSymbol(name);
            return found;
        };
    }

    /**
     * Finds and loads the library now. Call this before the first function of a generated class: from inside its static
     * initialisers the same failure would arrive wrapped in an {@link ExceptionInInitializerError}.
     *
     * @throws NativeLibraryException if the library, one of its bound symbols, a recent enough driver or the permission to call native code is missing
     */
    public void load() {
        resolve();
    }

    /**
     * Whether CUDA calls go to an NVIDIA driver or to the software GPU; decided once, at the first call.
     *
     * @throws NativeLibraryException if {@code turningpoint.device} says {@code cuda} and no driver can be used
     */
    public static DeviceKind device() {
        return Choice.get().kind;
    }

    /** Why {@link #device()} is what it is, in a few words for people. */
    public static String deviceReason() {
        return Choice.get().reason;
    }

    private SymbolLookup resolve() {
        var lookup = resolved;
        if (lookup != null) return lookup;
        synchronized (lock) {
            if (resolved == null) {
                requireNativeAccess(NativeLibrary.class.getModule());
                resolved = find();
            }
            return resolved;
        }
    }

    private SymbolLookup find() {
        return switch (this) {
            case CUDA -> device() == DeviceKind.CUDA ? checked(Choice.get().driver) : software();
            case CUBLASLT -> device() == DeviceKind.CUDA ? checked(open(explicitOr(candidates))) : software();
            case LLVM -> load(NativeCache.extract(this, "org/bytedeco/llvm/linux-x86_64/", "libLLVM.so"));
            // libdnnl finds libgomp.so.1 beside itself (RUNPATH $ORIGIN): a machine with only a JDK may have none of its own.
            case ONEDNN -> {
                var dnnl = NativeCache.extract(this, "org/bytedeco/dnnl/linux-x86_64/", "libdnnl.so.3", "libgomp.so.1");
                yield load(dnnl).or(load(dnnl.resolveSibling("libgomp.so.1")));
            }
        };
    }

    private SymbolLookup software() {
        return ServiceLoader.load(SoftwareGpu.class, NativeLibrary.class.getClassLoader()).findFirst()
                .orElseThrow(() -> new NativeLibraryException("no NVIDIA driver is used (" + deviceReason() + ") and no software GPU is on the class path: "
                        + "add dev.turningpoint:kernels, which brings one."))
                .symbols(this);
    }

    private List<String> explicitOr(List<String> names) {
        var file = System.getProperty("turningpoint." + includes);
        return file == null ? names : List.of(file);
    }

    /** Opens the first of the candidates that loads; a name without a slash is searched as the system's loader does. */
    private SymbolLookup open(List<String> names) {
        var failures = new ArrayList<String>();
        for (var name : names) {
            if (name.contains("/") && !Files.exists(Path.of(name))) {
                failures.add(name + ": no such file");
                continue;
            }
            try {
                return name.contains("/") ? SymbolLookup.libraryLookup(Path.of(name), Arena.global()) : SymbolLookup.libraryLookup(name, Arena.global());
            } catch (IllegalArgumentException e) {
                failures.add(DynamicLoader.whyNot(name));
            }
        }
        throw missingLibrary(names.getFirst(), failures);
    }

    private SymbolLookup load(Path file) {
        try {
            return SymbolLookup.libraryLookup(file, Arena.global());
        } catch (IllegalArgumentException e) {
            throw new NativeLibraryException(title + " (" + file + ") does not load: " + DynamicLoader.whyNot(file.toString())
                    + ".\nIf it names another library, install that one (libstdc++6, zlib1g); if the folder forbids execution, choose another by -Dturningpoint.cache=DIR.", e);
        }
    }

    /** A real library must have every function we bind: better one message at the start than a failure in the middle of a run. */
    private SymbolLookup checked(SymbolLookup lookup) {
        for (var name : boundFunctions())
            if (lookup.find(name).isEmpty()) throw missingSymbol(name);
        return lookup;
    }

    /** The functions of {@code <library>.includes}, as the bindings were generated from it. */
    List<String> boundFunctions() {
        try (InputStream in = NativeLibrary.class.getResourceAsStream(includes + ".includes")) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8).lines()
                    .filter(line -> line.startsWith("--include-function ")).map(line -> line.substring(19).strip()).toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    NativeLibraryException missingLibrary(String file, List<String> failures) {
        var advice = this == CUDA ? "Install an NVIDIA driver of CUDA 13 (580 or newer), or run without a GPU by -Dturningpoint.device=software."
                : "Install it, or name the file by -Dturningpoint." + includes + "=PATH.";
        return new NativeLibraryException(title + " is missing: " + file + " was not found.\n  tried " + String.join("\n  tried ", failures) + "\n" + advice);
    }

    NativeLibraryException missingSymbol(String name) {
        boolean software = (this == CUDA || this == CUBLASLT) && device() == DeviceKind.SOFTWARE;
        return new NativeLibraryException(software ? "the software GPU does not serve " + name + " (" + title + ")."
                : title + " has no function '" + name + "': " + switch (this) {
                    case CUDA -> "the driver is older than CUDA 13; install 580 or newer.";
                    case CUBLASLT -> "use the libcublasLt.so.13 of CUDA 13.0 or newer.";
                    case LLVM, ONEDNN -> "the jar on the class path is not the version in our pom.xml.";
                });
    }

    static void requireDriver(int version) {
        if (version < NEEDED_DRIVER)
            throw new NativeLibraryException("the NVIDIA driver is too old: it serves CUDA " + cudaVersion(version) + ", needed is " + cudaVersion(NEEDED_DRIVER)
                    + ".\nInstall driver 580 or newer, or run without the GPU by -Dturningpoint.device=software.");
    }

    private static String cudaVersion(int version) {
        return version / 1000 + "." + version % 1000 / 10;
    }

    static void requireNativeAccess(Module module) {
        if (!module.isNativeAccessEnabled())
            throw new NativeLibraryException("this JVM may not call native code: start it with --enable-native-access="
                    + (module.isNamed() ? module.getName() : "ALL-UNNAMED")
                    + " (in an executable jar: 'Enable-Native-Access: ALL-UNNAMED' in its manifest).");
    }

    /** Which device serves CUDA, decided once. */
    private record Choice(DeviceKind kind, String reason, SymbolLookup driver) {
        private static Choice made;

        static synchronized Choice get() {
            if (made == null) made = make(System.getProperty("turningpoint.device", "auto"));
            return made;
        }

        private static Choice make(String wanted) {
            return switch (wanted) {
                case "software" -> new Choice(DeviceKind.SOFTWARE, "turningpoint.device=software", null);
                case "cuda" -> driver(true);
                case "auto" -> driver(false);
                default -> throw new NativeLibraryException("turningpoint.device is '" + wanted + "'; it must be auto, cuda or software.");
            };
        }

        /** A driver that is there but broken or too old is an error even in {@code auto}: whoever has a GPU should not lose it silently. */
        private static Choice driver(boolean required) {
            requireNativeAccess(NativeLibrary.class.getModule());
            SymbolLookup driver;
            try {
                driver = CUDA.open(CUDA.explicitOr(CUDA.candidates));
            } catch (NativeLibraryException e) {
                if (required || System.getProperty("turningpoint.cuda") != null) throw e;
                return new Choice(DeviceKind.SOFTWARE, "no NVIDIA driver found", null);
            }
            requireDriver(answer(driver, "cuDriverGetVersion"));
            int status = call(driver, "cuInit", FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT), 0);
            int devices = status == 0 ? answer(driver, "cuDeviceGetCount") : 0;
            if (status != 0 && status != CUDA_ERROR_NO_DEVICE)
                throw new NativeLibraryException("the NVIDIA driver does not start: cuInit returned " + status
                        + ".\nSee what nvidia-smi says, or run without the GPU by -Dturningpoint.device=software.");
            if (devices == 0 && !required) return new Choice(DeviceKind.SOFTWARE, "the NVIDIA driver sees no device", null);
            if (devices == 0)
                throw new NativeLibraryException("the NVIDIA driver sees no device.\nCheck CUDA_VISIBLE_DEVICES and what nvidia-smi says, "
                        + "or run without a GPU by -Dturningpoint.device=software.");
            return new Choice(DeviceKind.CUDA, "the NVIDIA driver sees " + devices + (devices == 1 ? " device" : " devices"), driver);
        }

        /** Calls {@code int name(int*)} and returns what it wrote. */
        private static int answer(SymbolLookup driver, String name) {
            try (var arena = Arena.ofConfined()) {
                MemorySegment value = arena.allocate(ValueLayout.JAVA_INT);
                int status = call(driver, name, FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS), value);
                if (status != 0) throw new NativeLibraryException("the NVIDIA driver does not answer: " + name + " returned " + status + "; see what nvidia-smi says.");
                return value.get(ValueLayout.JAVA_INT, 0);
            }
        }

        private static int call(SymbolLookup driver, String name, FunctionDescriptor type, Object argument) {
            var address = driver.find(name).orElseThrow(() -> CUDA.missingSymbol(name));
            try {
                return (int) Linker.nativeLinker().downcallHandle(address, type).invoke(argument);
            } catch (RuntimeException | Error e) {
                throw e;
            } catch (Throwable e) {
                throw new AssertionError(e);
            }
        }
    }

    @Override
    public String toString() {
        return title;
    }
}
