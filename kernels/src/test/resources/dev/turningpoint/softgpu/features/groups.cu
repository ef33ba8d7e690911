// Cooperative groups within a block: tiles, coalesced and labelled groups, reductions and scans.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
namespace cg = cooperative_groups;

extern "C" __global__ void tiles(int* out, const int* in) {
    auto block = cg::this_thread_block();
    auto tile = cg::tiled_partition<8>(block);
    const int i = block.thread_rank(), v = in[i];
    int* o = out + 8 * i;
    o[0] = cg::reduce(tile, v, cg::plus<int>());
    o[1] = cg::reduce(tile, v, cg::less<int>());
    o[2] = tile.shfl_xor(v, 1);
    o[3] = tile.any(v > 6);
    o[4] = tile.all(v > 0);
    o[5] = tile.ballot(v > 2);
    o[6] = tile.match_any(v);
    int all;
    const int same = tile.match_all(v / 8, all);
    o[7] = same + 1000 * all;
}

extern "C" __global__ void coalesced(int* out, const int* in) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    int* o = out + 3 * i;
    if (in[i] & 1) {
        auto g = cg::coalesced_threads();
        o[0] = g.size();
        o[1] = g.thread_rank();
        o[2] = cg::reduce(g, in[i], cg::plus<int>());
    } else o[0] = -1;
}

extern "C" __global__ void labelled(int* out, const int* in) {
    auto warp = cg::tiled_partition<32>(cg::this_thread_block());
    const int i = threadIdx.x;
    auto part = cg::labeled_partition(warp, in[i] % 3);
    out[3 * i] = cg::reduce(part, in[i], cg::plus<int>());
    out[3 * i + 1] = cg::reduce(part, in[i], cg::greater<int>());
    out[3 * i + 2] = part.thread_rank();
}

extern "C" __global__ void scans(int* out, const int* in) {
    auto warp = cg::tiled_partition<32>(cg::this_thread_block());
    auto tile = cg::tiled_partition<4>(warp);
    const int i = threadIdx.x;
    out[3 * i] = cg::inclusive_scan(warp, in[i]);
    out[3 * i + 1] = cg::exclusive_scan(tile, in[i]);
    out[3 * i + 2] = (int)cg::reduce(tile, (float)in[i], cg::plus<float>());
}

extern "C" __global__ void one_of_each_tile(int* out) {
    auto block = cg::this_thread_block();
    auto warp = cg::tiled_partition<32>(block);
    cg::invoke_one(warp, [&] { atomicAdd(out, 1); });
    block.barrier_wait(block.barrier_arrive());
    out[1 + threadIdx.x] = out[0];
}
