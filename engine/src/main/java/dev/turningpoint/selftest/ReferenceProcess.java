package dev.turningpoint.selftest;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.kernels.cases.Buffer;
import dev.turningpoint.kernels.cases.CaseRun;
import dev.turningpoint.kernels.cases.KernelCase;
import dev.turningpoint.kernels.cases.KernelCases;
import dev.turningpoint.kernels.cases.Launchers;
import java.io.BufferedOutputStream;
import java.io.DataOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The main class of the reference: runs the cases it is given the names of on this process' device and writes their results to standard output, for each case its name, an error
 * (empty if there is none) and the bytes of its results one after another. It ends with its parent.
 */
final class ReferenceProcess {
    private static final int PIECE = 1 << 16;

    private ReferenceProcess() {}

    public static void main(String[] names) throws Exception {
        var out = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), PIECE));
        System.setOut(System.err);                                     // what a library prints must not lie among the results
        Thread.ofPlatform().daemon().start(ReferenceProcess::endWithParent);
        try (var device = Device.open(); var stream = device.newStream(); var launchers = new Launchers(device)) {
            for (String name : names) {
                out.writeUTF(name);
                KernelCase c = KernelCases.get(name);
                try (var run = new CaseRun(c, launchers, stream); Arena arena = Arena.ofConfined()) {
                    run.fill();
                    run.mark();
                    run.launch();
                    stream.synchronize();
                    out.writeUTF("");
                    for (Buffer b : c.buffers()) if (b.isResult()) write(run.read(b, arena), out);
                } catch (RuntimeException e) {
                    out.writeUTF(String.valueOf(e.getMessage()).lines().findFirst().orElse(e.toString()));
                    throw e;                                           // after a fault the device is of no more use
                }
                out.flush();
            }
        } finally {
            out.flush();
        }
    }

    private static void write(MemorySegment content, DataOutputStream out) throws IOException {
        var piece = new byte[PIECE];
        for (long at = 0; at < content.byteSize(); at += PIECE) {
            int length = (int) Math.min(PIECE, content.byteSize() - at);
            MemorySegment.copy(content, ValueLayout.JAVA_BYTE, at, piece, 0, length);
            out.write(piece, 0, length);
        }
    }

    private static void endWithParent() {
        try {
            while (System.in.read() >= 0) { }
        } catch (IOException e) {
            // the parent is gone as well
        }
        Runtime.getRuntime().halt(1);
    }
}
