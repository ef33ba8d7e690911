"""PyTorch's times of what `./turningpoint selftest` times on the same GPU: microseconds by CUDA graph, medians of 7 replays of 20 runs.

    python3 bench/pytorch_cuda.py        # needs PyTorch with CUDA
"""
import torch
import torch.nn.functional as F

RUNS, REPLAYS = 20, 7


def time(name, work):
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(RUNS):
            work()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times = []
    for _ in range(REPLAYS):
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / RUNS)
    print(f"{name:50s} {sorted(times)[REPLAYS // 2]:9.1f} us", flush=True)


def normal(*shape, dtype=torch.float32, grad=False):
    return torch.randn(*shape, device="cuda", dtype=dtype).requires_grad_(grad)


def attention(name, dtype, batch, heads, tokens, dim):
    q, k, v = (normal(batch, heads, tokens, dim, dtype=dtype, grad=True) for _ in range(3))
    gradient = normal(batch, heads, tokens, dim, dtype=dtype)

    def forward():
        with torch.no_grad():
            F.scaled_dot_product_attention(q, k, v)

    time(f"attention {name}", forward)
    time(f"attention {name}, forward and backward", lambda: torch.autograd.grad(F.scaled_dot_product_attention(q, k, v), (q, k, v), gradient))


def main():
    torch.manual_seed(0)
    print(torch.cuda.get_device_name(), torch.__version__)
    for dtype, suffix in ((torch.float32, "f32"), (torch.bfloat16, "bf16")):
        attention(f"32_{suffix}.glyph", dtype, 48, 3, 101, 32)
        attention(f"64_{suffix}.sd35", dtype, 2, 24, 1229, 64)
        attention(f"128_{suffix}.sd35", dtype, 1, 8, 1536, 128)
        x, scale, shift = normal(2048, 1536, dtype=dtype), normal(1, 1536, dtype=dtype), normal(1, 1536, dtype=dtype)
        time(f"adaptive layer norm {suffix}.sd35", lambda: F.layer_norm(x, (1536,)) * (1 + scale) + shift)
        hidden = normal(2048, 6144, dtype=dtype)
        time(f"gelu {suffix}.sd35", lambda: F.gelu(hidden, approximate="tanh"))
    parameter = normal(4_694_016, grad=True)
    parameter.grad = normal(4_694_016)
    time("adamw f32.sd35, fused", torch.optim.AdamW([parameter], fused=True, capturable=True).step)


if __name__ == "__main__":
    main()
