package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Gemm;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** {@code y = x W^T + b} at the shapes of the models' layers, beside {@code torch.linear}: oneDNN's here; in libtorch OpenBLAS's for f32 and oneDNN's for bf16. */
final class ProductWork implements Work {
    private static final int[][] SHAPES = {{384, 96, 288}, {384, 96, 384}, {1024, 1536, 4608}, {1024, 1536, 6144}, {1024, 3072, 3072}};

    static List<Offer> offers() {
        var offers = new ArrayList<Offer>();
        for (DType type : List.of(DType.F32, DType.BF16)) {
            for (int[] s : SHAPES) {
                double bytes = (double) type.bytes((long) s[0] * s[1] + (long) s[1] * s[2] + (long) s[0] * s[2] + s[2]);
                offers.add(new Offer(new Subject("product with bias", "product_" + type.suffix() + "." + s[0] + "x" + s[1] + "x" + s[2], "rows " + s[0] + ", in " + s[1] + ", out " + s[2], bytes,
                        2. * s[0] * s[1] * s[2], type, 1, false, ""), (device, stream) -> new ProductWork(device, stream, type, s[0], s[1], s[2])));
            }
        }
        return offers;
    }

    private final Resources resources = new Resources();
    private final Stream stream;
    private final Gemm gemm;
    private final int rows, in, out;
    private final long x, w, b, y;
    private final Tensor tx, tw, tb;
    private final double error;

    ProductWork(Device device, Stream stream, DType type, int rows, int in, int out) {
        this.stream = stream;
        this.rows = rows;
        this.in = in;
        this.out = out;
        gemm = resources.add(Gemm.of(device, type, type, type, false, true, out, in, rows, true));
        tx = torch.randn(rows, in).to(Torch.scalarType(type));
        tw = Torch.times(torch.randn(out, in), 1 / Math.sqrt(in)).to(Torch.scalarType(type));
        tb = torch.randn(out).to(Torch.scalarType(type));
        x = put(device, tx);
        w = put(device, tw);
        b = put(device, tb);
        Tensor result = torch.empty(rows, out).to(Torch.scalarType(type));
        var memory = resources.add(device.allocate(result.nbytes(), "product"));
        y = memory.address();
        resources.add(stream::synchronize);
        ours();
        stream.copyToHost(Torch.memory(result), y);
        stream.synchronize();
        try (var scope = new PointerScope()) {
            Tensor expected = torch.linear(tx, tw, Torch.optional(tb));
            error = Torch.f32(result).sub(Torch.f32(expected)).abs().max().item_double() / Torch.f32(expected).abs().max().item_double();
        }
        if (!(error <= (type == DType.F32 ? 1e-5 : 1e-2))) throw new IllegalStateException(gemm + " and the peer's differ by " + error + " of the largest value");
    }

    private long put(Device device, Tensor t) {
        var memory = resources.add(device.allocate(t.nbytes(), "operand"));
        memory.copyFrom(Torch.memory(t), 0, stream);
        stream.synchronize();
        return memory.address();
    }

    @Override
    public void ours() {
        gemm.run(stream, rows, x, in, w, in, y, out, b, 1, 0);
    }

    @Override
    public void peer() {
        torch.linear(tx, tw, Torch.optional(tb));
    }

    @Override
    public double error() {
        return error;
    }

    @Override
    public void close() {
        resources.close();
    }
}
