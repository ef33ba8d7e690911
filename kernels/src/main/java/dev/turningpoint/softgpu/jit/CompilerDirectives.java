package dev.turningpoint.softgpu.jit;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicBoolean;
import javax.management.JMException;
import javax.management.ObjectName;

/**
 * Keeps the JVM's optimising compiler (C2) from the classes that translate PTX. They run for seconds, when the kernel cache is empty, and are full of large methods: C2
 * would take a quarter of the processor time of compiling all kernels, and what it makes would be used for a tenth. C1 compiles them as ever.
 */
final class CompilerDirectives {
    private static final System.Logger LOG = System.getLogger(CompilerDirectives.class.getName());
    private static final AtomicBoolean GIVEN = new AtomicBoolean();
    private static final String DIRECTIVES = """
            [{ match: ["dev/turningpoint/softgpu/jit/*.*", "dev/turningpoint/softgpu/analysis/*.*", "dev/turningpoint/softgpu/ptx/*.*"], c2: { Exclude: true } }]
            """;

    private CompilerDirectives() {}

    /** Once in a process, on a thread beside. A JVM that takes no directives translates as well, only later. */
    static void give() {
        if (!GIVEN.compareAndSet(false, true)) return;
        Thread.ofPlatform().daemon().name("software-gpu-directives").start(() -> {
            try {
                Path file = Files.createTempFile("turningpoint", ".directives");
                try {
                    Files.writeString(file, DIRECTIVES);
                    Object answer = ManagementFactory.getPlatformMBeanServer().invoke(new ObjectName("com.sun.management:type=DiagnosticCommand"), "compilerDirectivesAdd",
                            new Object[] {new String[] {file.toString()}}, new String[] {String[].class.getName()});
                    LOG.log(System.Logger.Level.DEBUG, "directives for C2: {0}", answer);
                } finally {
                    Files.delete(file);
                }
            } catch (JMException | IOException | RuntimeException e) {
                LOG.log(System.Logger.Level.DEBUG, "this JVM takes no directives for C2", e);
            }
        });
    }
}
