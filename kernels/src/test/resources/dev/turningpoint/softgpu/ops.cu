// One element a thread through the operations of the ISA, results side by side.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define I(n, ...) extern "C" __global__ void n(const unsigned* a, const unsigned* b, const unsigned* c, unsigned* o, int n_) { \
    int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= n_) return; unsigned x = a[i], y = b[i], z = c[i]; unsigned* r = o + (long)i * 24; __VA_ARGS__ }
#define ASM2(k, op) asm volatile(op " %0, %1, %2;" : "=r"(r[k]) : "r"(x), "r"(y));
#define ASM3(k, op) asm volatile(op " %0, %1, %2, %3;" : "=r"(r[k]) : "r"(x), "r"(y), "r"(z));
#define ASM1(k, op) asm volatile(op " %0, %1;" : "=r"(r[k]) : "r"(x));
I(integers, ASM2(0, "add.u32") ASM2(1, "sub.s32") ASM2(2, "mul.lo.u32") ASM2(3, "mul.hi.u32") ASM2(4, "mul.hi.s32") ASM2(5, "div.u32") ASM2(6, "div.s32") ASM2(7, "rem.u32") ASM2(8, "rem.s32")
  ASM2(9, "min.s32") ASM2(10, "min.u32") ASM2(11, "max.s32") ASM2(12, "max.u32") ASM3(13, "mad.lo.s32") ASM3(14, "sad.s32") ASM3(15, "sad.u32") ASM2(16, "and.b32") ASM2(17, "or.b32") ASM2(18, "xor.b32")
  ASM1(19, "abs.s32") ASM1(20, "neg.s32") ASM1(21, "not.b32") ASM1(22, "cnot.b32") ASM3(23, "mad.hi.u32"))
I(bits, ASM2(0, "shl.b32") ASM2(1, "shr.u32") ASM2(2, "shr.s32") ASM3(3, "shf.l.wrap.b32") ASM3(4, "shf.r.wrap.b32") ASM3(5, "shf.l.clamp.b32") ASM3(6, "shf.r.clamp.b32") ASM3(7, "bfe.u32") ASM3(8, "bfe.s32")
  ASM3(9, "prmt.b32") asm volatile("lop3.b32 %0, %1, %2, %3, 0x96;" : "=r"(r[10]) : "r"(x), "r"(y), "r"(z)); asm volatile("lop3.b32 %0, %1, %2, %3, 0xca;" : "=r"(r[11]) : "r"(x), "r"(y), "r"(z));
  ASM1(12, "popc.b32") ASM1(13, "clz.b32") ASM1(14, "brev.b32") ASM1(15, "bfind.u32") ASM1(16, "bfind.s32") asm volatile("prmt.b32 %0, %1, %2, 0x7531;" : "=r"(r[17]) : "r"(x), "r"(y));
  asm volatile("bfi.b32 %0, %1, %2, %3, %4;" : "=r"(r[18]) : "r"(x), "r"(y), "r"(z & 255), "r"(y & 63)); asm volatile("prmt.b32 %0, %1, %2, 0xf8a1;" : "=r"(r[19]) : "r"(x), "r"(y));
  asm volatile("bfind.shiftamt.u32 %0, %1;" : "=r"(r[20]) : "r"(x)); r[21] = __funnelshift_l(x, y, 7); r[22] = __byte_perm(x, y, 0x3210); r[23] = __ffs(x);)
I(wide, unsigned long long p = (unsigned long long)x << 32 | y; unsigned long long q = (unsigned long long)z << 20 ^ x; unsigned long long t; long long s;
  t = p * q; r[0] = t; r[1] = t >> 32; t = q ? p / q : 0; r[2] = t; r[3] = t >> 32; s = q ? (long long)p % (long long)q : 0; r[4] = s; r[5] = s >> 32;
  asm volatile("shl.b64 %0, %1, %2;" : "=l"(t) : "l"(p), "r"(z)); r[6] = t; r[7] = t >> 32; asm volatile("shr.s64 %0, %1, %2;" : "=l"(t) : "l"(p), "r"(z & 127)); r[8] = t; r[9] = t >> 32;
  asm volatile("mul.wide.u32 %0, %1, %2;" : "=l"(t) : "r"(x), "r"(y)); r[10] = t; r[11] = t >> 32; asm volatile("mul.wide.s32 %0, %1, %2;" : "=l"(t) : "r"(x), "r"(y)); r[12] = t; r[13] = t >> 32;
  asm volatile("mad.wide.u32 %0, %1, %2, %3;" : "=l"(t) : "r"(x), "r"(y), "l"(q)); r[14] = t; r[15] = t >> 32; t = __umul64hi(p, q); r[16] = t; r[17] = t >> 32;
  r[18] = __popcll(p); r[19] = __clzll(q); t = __brevll(p); r[20] = t; r[21] = t >> 32; asm volatile("bfe.u64 %0, %1, %2, %3;" : "=l"(t) : "l"(p), "r"(y & 63), "r"(z & 63)); r[22] = t; r[23] = t >> 32;)
I(compares, unsigned m = 0;
#define P(k, op) asm volatile("{ .reg .pred p; setp." op " p, %1, %2; selp.u32 %0, 1, 0, p; }" : "=r"(r[k]) : "r"(x), "r"(y));
  P(0, "eq.u32") P(1, "ne.s32") P(2, "lt.s32") P(3, "le.s32") P(4, "gt.s32") P(5, "ge.s32") P(6, "lo.u32") P(7, "ls.u32") P(8, "hi.u32") P(9, "hs.u32")
#define F(k, op) asm volatile("{ .reg .pred p; setp." op ".f32 p, %1, %2; selp.u32 %0, 1, 0, p; }" : "=r"(r[k]) : "f"(__uint_as_float(x)), "f"(__uint_as_float(y)));
  F(10, "eq") F(11, "ne") F(12, "lt") F(13, "leu") F(14, "gtu") F(15, "geu") F(16, "equ") F(17, "neu") F(18, "num") F(19, "nan")
  asm volatile("{ .reg .pred p, q, s; setp.ne.u32 s, %3, 0; setp.lt.and.s32 p|q, %1, %2, s; selp.u32 %0, 1, 0, p; @q add.u32 %0, %0, 2; }" : "=r"(r[20]) : "r"(x), "r"(y), "r"(z & 1));
  asm volatile("set.gt.u32.s32 %0, %1, %2;" : "=r"(r[21]) : "r"(x), "r"(y)); asm volatile("slct.b32.s32 %0, %1, %2, %3;" : "=r"(r[22]) : "r"(x), "r"(y), "r"(z)); r[23] = m;)
#define X __uint_as_float(x)
#define Y __uint_as_float(y)
#define Z __uint_as_float(z)
I(floats, r[0] = __float_as_uint(__fadd_rn(X, Y)); r[1] = __float_as_uint(__fmul_rn(X, Y)); r[2] = __float_as_uint(__fmaf_rn(X, Y, Z)); r[3] = __float_as_uint(__fdiv_rn(X, Y)); r[4] = __float_as_uint(__fsqrt_rn(X));
  r[5] = __float_as_uint(__frcp_rn(X)); r[6] = __float_as_uint(fminf(X, Y)); r[7] = __float_as_uint(fmaxf(X, Y)); r[8] = __float_as_uint(fabsf(X)); r[9] = __float_as_uint(-X); r[10] = __float_as_uint(copysignf(X, Y));
  r[11] = __float_as_uint(__saturatef(X)); r[12] = __float_as_uint(__fadd_rd(X, Y)); r[13] = __float_as_uint(__fmul_ru(X, Y)); r[14] = __float_as_uint(__fmaf_rz(X, Y, Z)); r[15] = __float_as_uint(__fmaf_rd(X, Y, Z));
  asm volatile("add.ftz.f32 %0, %1, %2;" : "=r"(r[16]) : "f"(X), "f"(Y)); asm volatile("mul.ftz.f32 %0, %1, %2;" : "=r"(r[17]) : "f"(X), "f"(Y)); double d = (double)X * (double)Y + (double)Z; r[18] = __double2loint(d); r[19] = __double2hiint(d);
  d = sqrt(fabs((double)X)); r[20] = __double2loint(d); r[21] = __double2hiint(d); r[22] = isnan(X) ? 1 : isinf(X) ? 2 : 0; r[23] = __float_as_uint(floorf(X));)
I(conversions, r[0] = (unsigned)__float2int_rn(X); r[1] = (unsigned)__float2int_rz(X); r[2] = (unsigned)__float2int_rd(X); r[3] = (unsigned)__float2int_ru(X); r[4] = __float2uint_rz(X); r[5] = __float_as_uint(__int2float_rn(x)); r[6] = __float_as_uint(__uint2float_rn(x));
  r[7] = __float_as_uint(__int2float_rz(x)); r[8] = __float_as_uint(__uint2float_rd(x)); long long l = __float2ll_rz(X); r[9] = l; r[10] = l >> 32; r[11] = __float_as_uint(__ll2float_rn(((long long)x << 32) | y)); r[12] = (unsigned)__bfloat16_as_ushort(__float2bfloat16_rn(X));
  r[13] = __float_as_uint(__bfloat162float(__ushort_as_bfloat16(x & 0xffff))); r[14] = __half_as_ushort(__float2half_rn(X)); r[15] = __float_as_uint(__half2float(__ushort_as_half(x & 0xffff))); double d = __hiloint2double(x, y); r[16] = __float_as_uint((float)d);
  r[17] = (unsigned)(int)d; l = (long long)d; r[18] = l; r[19] = l >> 32; r[20] = (unsigned)(signed char)x; r[21] = (unsigned)(short)x + (unsigned char)y; asm volatile("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r[22]) : "f"(X), "f"(Y));
  asm volatile("{ .reg .s8 t; cvt.sat.s8.s32 %0, %1; }" : "=r"(r[23]) : "r"(x));)
I(halves, __nv_bfloat162 p = *(__nv_bfloat162*)&x, q = *(__nv_bfloat162*)&y, s = *(__nv_bfloat162*)&z, t; t = __hfma2(p, q, s); r[0] = *(unsigned*)&t; t = __hadd2(p, q); r[1] = *(unsigned*)&t; t = __hmul2(p, q); r[2] = *(unsigned*)&t;
  t = __hmax2(p, q); r[3] = *(unsigned*)&t; t = __hneg2(p); r[4] = *(unsigned*)&t; __half2 u = *(__half2*)&x, v = *(__half2*)&y, w; w = __hadd2(u, v); r[5] = *(unsigned*)&w; w = __hmul2(u, v); r[6] = *(unsigned*)&w; w = __hfma2(u, v, u); r[7] = *(unsigned*)&w;
  for (int k = 8; k < 24; k++) r[k] = 0;)
I(functions, r[0] = __float_as_uint(exp2f(X)); r[1] = __float_as_uint(__log2f(X)); r[2] = __float_as_uint(__sinf(X)); r[3] = __float_as_uint(__cosf(X)); float t; asm volatile("tanh.approx.f32 %0, %1;" : "=f"(t) : "f"(X)); r[4] = __float_as_uint(t); r[5] = __float_as_uint(rsqrtf(X));
  r[6] = __float_as_uint(__expf(X)); r[7] = __float_as_uint(expf(X)); r[8] = __float_as_uint(tanhf(X)); r[9] = __float_as_uint(logf(X)); r[10] = __float_as_uint(sinf(X)); r[11] = __float_as_uint(__fdividef(X, Y)); r[12] = __float_as_uint(erff(X));
  r[13] = __float_as_uint(powf(fabsf(X), 0.37f)); r[14] = __float_as_uint(cosf(X)); for (int k = 15; k < 24; k++) r[k] = 0;)
// Philox 4x32-10
I(philox, unsigned k0 = 0x12345678, k1 = 0x9abcdef0, c0 = x, c1 = y, c2 = z, c3 = i;
  for (int k = 0; k < 10; k++) { unsigned h0 = __umulhi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0, h1 = __umulhi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2; c0 = h1 ^ c1 ^ k0; c1 = l1; c2 = h0 ^ c3 ^ k1; c3 = l0; k0 += 0x9E3779B9u; k1 += 0xBB67AE85u; }
  r[0] = c0; r[1] = c1; r[2] = c2; r[3] = c3; for (int k = 4; k < 24; k++) r[k] = 0;)
