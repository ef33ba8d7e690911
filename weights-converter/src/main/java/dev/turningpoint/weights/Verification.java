package dev.turningpoint.weights;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A whole read of a checkpoint.
 *
 * @param recognised what it is; its checkpoint is closed
 * @param engine     whether it is an engine file, whose checksums were compared
 * @param notFinite  tensors that hold NaN or infinity, each with how many
 */
public record Verification(Recognised recognised, boolean engine, List<String> notFinite) {
    private static final int BUFFER = 4 << 20;

    /** @throws WeightsException if the checkpoint cannot be used: see {@link Checkpoint#open}, {@link Recognised#of} and {@link EngineFile#open} */
    public static Verification of(Path path, Progress progress) {
        try (Checkpoint checkpoint = Checkpoint.open(path)) {
            Recognised recognised = Recognised.of(checkpoint);
            boolean engine = checkpoint.metadata().containsKey(EngineFile.FORMAT);
            if (engine) EngineFile.open(path, progress).close();
            var found = new ArrayList<String>();
            long total = checkpoint.names().stream().mapToLong(n -> checkpoint.info(n).bytes()).sum(), done = 0;
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment buffer = arena.allocate(BUFFER, EngineFile.ALIGNMENT);
                for (String name : checkpoint.names()) {
                    TensorInfo info = checkpoint.info(name);
                    long count = 0;
                    for (long at = 0; at < info.bytes(); at += BUFFER) {
                        MemorySegment piece = buffer.asSlice(0, Math.min(BUFFER, info.bytes() - at));
                        checkpoint.read(name, at, piece);
                        count += notFinite(info.type(), piece);
                        progress.at(done += piece.byteSize(), total);
                    }
                    if (count > 0) found.add(SafetensorsHeader.quoted(name) + " (" + count + ")");
                }
            }
            return new Verification(recognised, engine, List.copyOf(found));
        }
    }

    private static long notFinite(TensorType type, MemorySegment data) {
        long count = 0;
        int exponent = switch (type) { case F16 -> 0x7c00; case BF16 -> 0x7f80; default -> 0x7f800000; };
        switch (type) {
            case F16, BF16 -> {
                for (long i = 0; i < data.byteSize(); i += 2) if ((data.get(TensorType.SHORT, i) & exponent) == exponent) count++;
            }
            case F32 -> {
                for (long i = 0; i < data.byteSize(); i += 4) if ((data.get(TensorType.INT, i) & exponent) == exponent) count++;
            }
            case F64 -> {
                for (long i = 0; i < data.byteSize(); i += 8) if (!Double.isFinite(data.get(TensorType.DOUBLE, i))) count++;
            }
            default -> { }   // whole numbers
        }
        return count;
    }
}
