package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Gemm;
import dev.turningpoint.gpu.Stream;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** {@code y = x W^T + b} at the shapes of the models' layers, beside {@code torch.linear}: oneDNN's here; in libtorch OpenBLAS's for f32 and oneDNN's for bf16. */
final class ProductWork extends Work {
    private static final int[][] SHAPES = {{384, 96, 288}, {384, 96, 384}, {1024, 1536, 4608}, {1024, 1536, 6144}, {1024, 3072, 3072}};

    static List<Offer> offers() {
        var offers = new ArrayList<Offer>();
        for (DType type : List.of(DType.F32, DType.BF16)) {
            for (int[] s : SHAPES) offers.add(offer(type, s[0], s[1], s[2]));
        }
        return offers;
    }

    static Offer offer(DType type, int rows, int in, int out) {
        double bytes = type.bytes((long) rows * in + (long) in * out + (long) rows * out + out);
        var subject = new Subject("product with bias", "product_" + type.suffix() + "." + rows + "x" + in + "x" + out, "rows " + rows + ", in " + in + ", out " + out, bytes, 2. * rows * in * out, type, 1, false, "");
        return new Offer(subject, type == DType.F32 ? 1e-5 : 1e-2, (device, stream) -> new ProductWork(device, stream, type, rows, in, out));
    }

    private final DType type;
    private final int rows, in, out;

    private ProductWork(Device device, Stream stream, DType type, int rows, int in, int out) {
        super(device, stream);
        this.type = type;
        this.rows = rows;
        this.in = in;
        this.out = out;
    }

    @Override
    double arrange() {
        var t = Torch.scalarType(type);
        Tensor x = torch.randn(rows, in).to(t), w = Torch.times(torch.randn(out, in), 1 / Math.sqrt(in)).to(t), b = torch.randn(out).to(t), y = Torch.empty(type, rows, out);
        Gemm gemm = resources.add(Gemm.of(device, type, type, type, false, true, out, in, rows, true));
        long xs = put(x), ws = put(w), bs = put(b), ys = put(y);
        ours = () -> gemm.run(stream, rows, xs, in, ws, in, ys, out, bs, 1, 0);
        peer = () -> torch.linear(x, w, Torch.optional(b));
        ours.run();
        return Torch.difference(torch.linear(x, w, Torch.optional(b)), get(ys, y));
    }
}
