// Control flow of every kind: loops in loops, break, continue, early return, goto, switch, divergent and uniform.
extern "C" __global__ void stress(const int* in, int* out, float* fo, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned x = in[i];
    int acc = 0;
    float f = 1.f;
    if (x % 7 == 3) { out[i] = -1; fo[i] = 0.5f; return; }
    for (int k = 0; k < (int)(x % 13); k++) {
        unsigned y = x + k;
        int steps = 0;
        while (y > 1) {
            if (y & 1) { y = 3 * y + 1; if (y > 100000u) break; } else y >>= 1;
            if (++steps > 60) break;
            if (steps % 5 == 4) continue;
            acc += (int)(y & 3);
        }
        switch (steps & 3) {
            case 0: f = f * 1.5f + 1.f; break;
            case 1: f = f * 0.5f; if (k == 3) goto done; break;
            case 2: acc ^= steps;
            default: f += (float)steps;
        }
        if (f > 1000.f) f *= 0.01f;
    }
done:
    out[i] = acc;
    fo[i] = f;
}

// A uniform loop counter used as an index while lanes take different branches inside the loop.
extern "C" __global__ void mixed(const int* in, int* out, int n, int rounds) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    int v = i < n ? in[i] : 0, sum = 0;
    for (int k = 0; k < rounds; k++) {
        int w = in[k];                       // uniform load
        if ((v ^ w) & 1) { sum += w; if (sum > 1000) break; }
        else if (v & 2) { v = v * 3 + k; continue; }
        sum ^= k;
        v += sum;
    }
    if (i < n) out[i] = sum + v;
}

// A jump table.
extern "C" __global__ void table(const int* in, int* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int v = in[i], r = 0;
    for (int k = 0; k < 3; k++)
        switch (v & 7) {
            case 0: r += __popc(v); v = v * 5 + 1; break;
            case 1: r ^= v; v >>= 1; break;
            case 2: r -= 3; v += r; break;
            case 3: r = r * 7 + k; v ^= 0x55; break;
            case 4: r += v; break;
            case 5: r = max(r, v); v = v / 3; break;
            case 6: r = ~r; v -= 11; break;
            default: r += __clz(v); v = -v; break;
        }
    out[i] = r + v;
}
