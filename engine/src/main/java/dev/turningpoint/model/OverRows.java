package dev.turningpoint.model;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Gemm;
import dev.turningpoint.gpu.GemmWorkspace;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import java.util.ArrayList;
import java.util.List;

/** {@code c[m,n] += scale a^T b} with a [rows, m] and b [rows, n]: a weight's gradient. The sum runs over the rows, so that each number of rows has its own product; training uses one or two. */
final class OverRows implements AutoCloseable {
    private record Product(int rows, Gemm gemm) {
    }

    private final GemmWorkspace workspace;
    private final DType storage;
    private final int m;
    private final int n;
    private final Resources resources = new Resources();
    private final List<Product> products = new ArrayList<>();

    /** @param storage type of a and b; c is f32 */
    OverRows(GemmWorkspace workspace, DType storage, int m, int n) {
        this.workspace = workspace;
        this.storage = storage;
        this.m = m;
        this.n = n;
    }

    /** @param lda elements from a row of a to the next; rows of b and c lie side by side */
    void add(Stream stream, long a, int lda, long b, long c, int rows, float scale) {
        product(rows).run(stream, m, a, lda, b, n, c, n, 0, scale, 1f);
    }

    private Gemm product(int rows) {
        for (int i = 0; i < products.size(); i++) {
            if (products.get(i).rows == rows) {
                return products.get(i).gemm;
            }
        }
        Gemm gemm = resources.add(Gemm.of(workspace, storage, storage, DType.F32, true, false, n, rows, m, false));
        products.add(new Product(rows, gemm));
        return gemm;
    }

    @Override
    public void close() {
        resources.close();
    }
}
