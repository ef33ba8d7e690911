// C = A B^T with mma.sync: bf16 m16n8k16 through ldmatrix (plain and transposed) and cp.async, and tf32 m16n8k8 from global memory.
#include <cuda_bf16.h>
#include <stdint.h>
__device__ void mma16(float* c, const uint32_t* a, uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// A [16 m, K], B [K, 8 n] both row-major bf16; one warp a 16 x 16 tile; 2 warps a block side by side; K a multiple of 16
extern "C" __global__ void matmul(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int K, int N) {
    __shared__ __align__(16) __nv_bfloat16 sa[16 * 24], sb[16 * 40];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    int row = blockIdx.y * 16, col = blockIdx.x * 32;
    float acc[2][4] = {};
    for (int k0 = 0; k0 < K; k0 += 16) {
        __syncthreads();
        for (int i = threadIdx.x; i < 32; i += 64) {
            unsigned d = (unsigned)__cvta_generic_to_shared(sa + (i >> 1) * 24 + (i & 1) * 8);
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(d), "l"(a + (long)(row + (i >> 1)) * K + k0 + (i & 1) * 8));
        }
        for (int i = threadIdx.x; i < 64; i += 64) {
            unsigned d = (unsigned)__cvta_generic_to_shared(sb + (i >> 2) * 40 + (i & 3) * 8);
            int in = col + (i & 3) * 8 < N ? 16 : 0;
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(d), "l"(b + (long)(k0 + (i >> 2)) * N + col + (i & 3) * 8), "r"(in));
        }
        asm volatile("cp.async.commit_group; cp.async.wait_group 0;");
        __syncthreads();
        uint32_t fa[4], fb[4];
        unsigned pa = (unsigned)__cvta_generic_to_shared(sa + (lane & 15) * 24 + (lane >> 4) * 8);
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3]) : "r"(pa));
        unsigned pb = (unsigned)__cvta_generic_to_shared(sb + (lane & 15) * 40 + warp * 16 + (lane >> 4) * 8);
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(fb[0]), "=r"(fb[1]), "=r"(fb[2]), "=r"(fb[3]) : "r"(pb));
        mma16(acc[0], fa, fb[0], fb[1]);
        mma16(acc[1], fa, fb[2], fb[3]);
    }
    for (int n = 0; n < 2; n++)
        for (int j = 0; j < 4; j++) {
            int r = row + (lane >> 2) + (j >> 1) * 8, q = col + warp * 16 + n * 8 + (lane & 3) * 2 + (j & 1);
            if (q < N) c[(long)r * N + q] = acc[n][j];
        }
}
// A [16, 8], B [8 (n), 8 (k)] f32, one warp
extern "C" __global__ void tf32(const float* a, const float* b, float* c) {
    int l = threadIdx.x, g = l >> 2, t = l & 3;
    uint32_t x[4], y[2];
    float v[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + t + 4], a[(g + 8) * 8 + t + 4]}, w[2] = {b[g * 8 + t], b[g * 8 + t + 4]};
    for (int i = 0; i < 4; i++) asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(x[i]) : "f"(v[i]));
    for (int i = 0; i < 2; i++) asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y[i]) : "f"(w[i]));
    float d[4] = {};
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
    c[g * 8 + 2 * t] = d[0]; c[g * 8 + 2 * t + 1] = d[1]; c[(g + 8) * 8 + 2 * t] = d[2]; c[(g + 8) * 8 + 2 * t + 1] = d[3];
}
