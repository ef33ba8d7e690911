package dev.turningpoint.softgpu.fuzz;

/**
 * What kernels compute from registers. Each letter behind an opcode is an operand, the first of them the result: r b32, q b64, e b16, f f32, d f64, h f16, g bf16, v f16x2, w bf16x2,
 * p predicate, P another one, s shift amount or bit position, k a small number, l truth table, c float literal, t a register of 32 bits for what passes to the next
 * instruction. Instructions that follow one another are joined by semicolons.
 */
final class Forms {
    private Forms() {}

    static final String[] ALL = {
        "add.s32 rrr", "sub.s32 rrr", "mul.lo.s32 rrr", "mul.hi.s32 rrr", "mul.hi.u32 rrr", "mad.lo.s32 rrrr", "mad.hi.s32 rrrr", "mad.hi.u32 rrrr",
        "mul24.lo.s32 rrr", "mul24.lo.u32 rrr", "sad.s32 rrrr", "sad.u32 rrrr", "div.s32 rrr", "div.u32 rrr", "rem.s32 rrr", "rem.u32 rrr", "abs.s32 rr",
        "neg.s32 rr", "min.s32 rrr", "max.s32 rrr", "min.u32 rrr", "max.u32 rrr", "add.sat.s32 rrr", "sub.sat.s32 rrr", "popc.b32 rr", "clz.b32 rr", "brev.b32 rr",
        "bfind.s32 rr", "bfind.u32 rr", "bfind.shiftamt.u32 rr", "bfind.shiftamt.s32 rr", "shl.b32 rrs", "shr.s32 rrs", "shr.u32 rrs", "shf.l.wrap.b32 rrrs",
        "shf.r.wrap.b32 rrrs", "shf.l.clamp.b32 rrrs", "shf.r.clamp.b32 rrrs", "bfe.s32 rrss", "bfe.u32 rrss", "bfi.b32 rrrss", "prmt.b32 rrrr",
        "dp4a.u32.u32 rrrr", "dp4a.s32.s32 rrrr", "and.b32 rrr", "or.b32 rrr", "xor.b32 rrr", "not.b32 rr", "cnot.b32 rr", "selp.b32 rrrp", "add.s64 qqq",
        "sub.s64 qqq", "mul.lo.s64 qqq", "mul.hi.s64 qqq", "mul.hi.u64 qqq", "mad.lo.s64 qqqq", "div.s64 qqq", "div.u64 qqq", "rem.s64 qqq", "rem.u64 qqq",
        "min.s64 qqq", "max.u64 qqq", "abs.s64 qq", "neg.s64 qq", "popc.b64 rq", "clz.b64 rq", "brev.b64 qq", "bfind.u64 rq", "bfind.s64 rq", "shl.b64 qqs",
        "shr.s64 qqs", "shr.u64 qqs", "and.b64 qqq", "or.b64 qqq", "xor.b64 qqq", "not.b64 qq", "bfe.u64 qqss", "bfe.s64 qqss", "bfi.b64 qqqss", "mul.wide.s32 qrr",
        "mul.wide.u32 qrr", "mad.wide.s32 qrrq", "mad.wide.u32 qrrq", "selp.b64 qqqp", "cvt.s64.s32 qr", "cvt.u64.u32 qr", "cvt.u32.u64 rq", "cvt.s32.s8 rr",
        "cvt.s32.s16 rr", "cvt.u32.u8 rr", "cvt.u32.u16 rr", "cvt.s64.s8 qr", "cvt.sat.s32.s64 rq", "cvt.sat.u32.s64 rq", "cvt.sat.s32.u32 rr", "lop3.b32 rrrrl",
        "szext.clamp.s32 rrs", "szext.wrap.u32 rrs", "bmsk.clamp.b32 rss", "dp2a.lo.s32.s32 rrrr", "dp2a.hi.u32.s32 rrrr", "prmt.b32.f4e rrrr", "slct.b32.s32 rrrr",
        "set.lt.s32.s32 rrr", "set.ge.u32.f32 rff", "not.pred pp", "and.pred ppp", "or.pred ppp", "xor.pred ppp", "mul24.hi.s32 rrr", "mad24.lo.s32 rrrr",
        "add.rn.f32 fff", "sub.rn.f32 fff", "mul.rn.f32 fff", "fma.rn.f32 ffff", "add.ftz.f32 fff", "mul.ftz.f32 fff", "fma.rn.ftz.f32 ffff", "add.sat.f32 fff",
        "fma.rn.sat.f32 ffff", "div.rn.f32 fff", "div.rn.ftz.f32 fff", "rcp.rn.f32 ff", "sqrt.rn.f32 ff", "sqrt.rn.ftz.f32 ff", "abs.f32 ff", "neg.f32 ff",
        "abs.ftz.f32 ff", "min.f32 fff", "max.f32 fff", "min.NaN.f32 fff", "max.ftz.f32 fff", "add.rz.f32 fff", "add.rm.f32 fff", "add.rp.f32 fff",
        "mul.rz.f32 fff", "mul.rp.f32 fff", "fma.rz.f32 ffff", "fma.rm.f32 ffff", "selp.f32 fffp", "cvt.rni.f32.f32 ff", "cvt.rzi.f32.f32 ff", "cvt.rmi.f32.f32 ff",
        "cvt.rpi.f32.f32 ff", "cvt.sat.f32.f32 ff", "cvt.rn.f32.s32 fr", "cvt.rn.f32.u32 fr", "cvt.rz.f32.s32 fr", "cvt.rn.f32.s64 fq", "cvt.rn.f32.u64 fq",
        "cvt.rni.s32.f32 rf", "cvt.rzi.s32.f32 rf", "cvt.rmi.s32.f32 rf", "cvt.rpi.u32.f32 rf", "cvt.rzi.u32.f32 rf", "cvt.rzi.s64.f32 qf", "cvt.rzi.u64.f32 qf",
        "cvt.rzi.ftz.s32.f32 rf", "cvt.f64.f32 df", "cvt.rn.f32.f64 fd", "cvt.rz.f32.f64 fd", "cvt.rp.f32.f64 fd", "add.rn.f64 ddd", "sub.rn.f64 ddd",
        "mul.rn.f64 ddd", "fma.rn.f64 dddd", "div.rn.f64 ddd", "rcp.rn.f64 dd", "sqrt.rn.f64 dd", "abs.f64 dd", "neg.f64 dd", "min.f64 ddd", "max.f64 ddd",
        "selp.f64 dddp", "add.rz.f64 ddd", "mul.rm.f64 ddd", "fma.rp.f64 dddd", "div.rz.f64 ddd", "sqrt.rm.f64 dd", "slct.f32.s32 fffr", "div.rz.f32 fff",
        "sqrt.rp.f32 ff", "rcp.rm.f32 ff", "testp.finite.f32 pf", "testp.subnormal.f32 pf", "testp.number.f64 pd", "cvt.rn.f64.s32 dr", "cvt.rn.f64.u64 dq",
        "cvt.rn.f64.s64 dq", "cvt.rzi.s32.f64 rd", "cvt.rni.s64.f64 qd", "cvt.rzi.u32.f64 rd", "cvt.rmi.f64.f64 dd", "cvt.rn.f16.f32 hf", "cvt.f32.f16 fh",
        "cvt.rn.bf16.f32 gf", "add.f16 hhh", "sub.f16 hhh", "mul.f16 hhh", "fma.rn.f16 hhhh", "min.f16 hhh", "max.f16 hhh", "neg.f16 hh", "abs.f16 hh",
        "fma.rn.relu.f16 hhhh", "fma.rn.relu.bf16 gggg", "fma.rn.sat.f16 hhhh", "add.sat.f16 hhh", "mul.sat.f16 hhh", "min.NaN.f16 hhh", "max.NaN.bf16 ggg",
        "add.f16x2 vvv", "sub.f16x2 vvv", "mul.f16x2 vvv", "fma.rn.f16x2 vvvv", "fma.rn.relu.f16x2 vvvv", "min.f16x2 vvv", "max.NaN.f16x2 vvv", "neg.f16x2 vv",
        "abs.f16x2 vv", "cvt.rn.f16x2.f32 vff", "fma.rn.bf16x2 wwww", "min.bf16x2 www", "max.NaN.bf16x2 www", "neg.bf16x2 ww", "abs.bf16x2 ww",
        "cvt.rn.bf16x2.f32 wff", "cvt.rn.relu.bf16x2.f32 wff", "cvt.rz.bf16x2.f32 wff", "cvt.rz.f16.f32 hf", "cvt.rp.f16.f32 hf", "cvt.rn.relu.bf16.f32 gf",
        "cvt.rz.bf16.f32 gf", "cvt.rn.f16.f64 hd", "cvt.f64.f16 dh", "cvt.rn.f16.u32 hr", "cvt.rni.s32.f16 rh", "cvt.sat.f16.f32 hf", "fma.rn.bf16 gggg",
        "min.bf16 ggg", "max.bf16 ggg", "neg.bf16 gg", "abs.bf16 gg", "cvt.rn.f16.s32 hr", "cvt.rzi.s32.f16 rh", "add.s16 eee", "sub.s16 eee", "mul.lo.s16 eee",
        "mul.hi.u16 eee", "mul.wide.s16 ree", "mul.wide.u16 ree", "mad.lo.s16 eeee", "mad.wide.u16 reer", "div.s16 eee", "rem.u16 eee", "min.s16 eee",
        "max.u16 eee", "abs.s16 ee", "neg.s16 ee", "and.b16 eee", "or.b16 eee", "xor.b16 eee", "not.b16 ee", "shl.b16 ees", "shr.u16 ees", "shr.s16 ees",
        "selp.b16 eeep", "selp.u16 eeep", "setp.eq.s16 pee", "setp.gt.s16 pee", "setp.gt.u16 pee", "setp.ne.s16 pee", "cvt.u16.u32 er", "cvt.u16.u64 eq",
        "cvt.u32.u16 re", "cvt.s32.s16 re", "cvt.u64.u16 qe", "cvt.s64.s16 qe", "cvt.s16.s8 ee", "cvt.sat.s8.s32 rr", "cvt.sat.u16.s32 er", "cvt.rn.f32.u16 fe",
        "cvt.rn.f32.s16 fe", "cvt.rzi.s16.f32 ef", "cvt.rzi.u16.f32 ef", "cvt.rn.f16.s16 he", "mov.b32 r{ee}", "mov.b32 {ee}r", "mov.b64 q{rr}", "mov.b64 {rr}q",
        "mov.b64 q{eeee}", "mov.b16 ee", "mov.u16 ee", "mov.u32 rr", "mov.b64 qq", "mov.u64 qq", "mov.f32 ff", "mov.f64 dd", "mov.pred pp",
        "add.cc.u32 rrr;addc.u32 rrr", "sub.cc.u32 rrr;subc.u32 rrr", "add.cc.u32 rrr;addc.cc.u32 rrr;addc.u32 rrr", "sub.cc.u32 rrr;subc.cc.u32 rrr;subc.u32 rrr",
        "mad.lo.cc.u32 rrrr;madc.hi.u32 rrrr", "mad.hi.cc.u32 rrrr;addc.u32 rrr", "add.cc.s64 qqq;addc.cc.s64 qqq;addc.u32 rrr",
        "sub.cc.s64 qqq;subc.cc.s64 qqq;subc.u32 rrr", "mad.lo.cc.u32 rrrr;madc.lo.cc.u32 rrrr;madc.hi.u32 rrrr", "mad.hi.sat.s32 rrrr", "mad24.hi.sat.s32 rrrr",
        "mad24.lo.u32 rrrr", "mul24.hi.u32 rrr", "sad.s64 qqqq", "max.s64 qqq", "min.u64 qqq", "cnot.b64 qq", "prmt.b32.b4e rrrr", "prmt.b32.rc8 rrrr",
        "prmt.b32.ecl rrrr", "prmt.b32.ecr rrrr", "prmt.b32.rc16 rrrr", "bmsk.wrap.b32 rss", "szext.wrap.s32 rrs", "szext.clamp.u32 rrs", "dp2a.lo.u32.u32 rrrr",
        "dp2a.hi.s32.u32 rrrr", "dp4a.u32.s32 rrrr", "fns.b32 rrrr", "fns.b32 rrsk", "lop3.or.b32 r|prrrlp", "lop3.and.b32 r|prrrlp", "slct.b64.s32 qqqr",
        "slct.b32.f32 rrrf", "set.gt.u32.s32 rrr", "set.lt.and.s32.s32 rrrp", "set.eq.f32.u32 frr", "setp.eq.b32 prr", "setp.lo.u32 prr", "setp.ls.u32 prr",
        "setp.hi.u32 prr", "setp.hs.u32 prr", "shr.b32 rrs", "selp.u32 rrrp", "selp.s64 qqqp", "testp.infinite.f32 pf", "testp.normal.f32 pf",
        "testp.notanumber.f32 pf", "testp.normal.f64 pd", "testp.subnormal.f64 pd", "cvt.sat.u8.u32 rr", "cvt.sat.s16.s64 rq", "cvt.sat.u64.s64 qq",
        "cvt.u64.s32 qr", "cvt.s32.s64 rq", "add.f32 fff", "sub.f32 fff", "mul.f32 fff", "add.f64 ddd", "sub.f64 ddd", "mul.f64 ddd", "mad.rn.f32 ffff",
        "copysign.f32 fcf", "sub.ftz.f32 fff", "mul.sat.f32 fff", "mul.ftz.sat.f32 fff", "fma.rp.ftz.f32 ffff", "sub.rp.f32 fff", "mul.rm.f32 fff",
        "fma.rp.f32 ffff", "div.rm.f32 fff", "div.rp.f32 fff", "sqrt.rz.f32 ff", "sqrt.rm.f32 ff", "rcp.rz.f32 ff", "rcp.rp.f32 ff", "rcp.rn.ftz.f32 ff",
        "neg.ftz.f32 ff", "min.ftz.f32 fff", "max.NaN.f32 fff", "min.ftz.NaN.f32 fff", "sub.rm.f64 ddd", "add.rp.f64 ddd", "mul.rz.f64 ddd", "fma.rz.f64 dddd",
        "fma.rm.f64 dddd", "div.rp.f64 ddd", "rcp.rz.f64 dd", "rcp.rp.f64 dd", "sqrt.rp.f64 dd", "cvt.rni.f64.f64 dd", "cvt.rzi.f64.f64 dd", "cvt.rpi.f64.f64 dd",
        "cvt.sat.f64.f64 dd", "cvt.sat.f32.f64 fd", "cvt.rpi.s32.f32 rf", "cvt.rmi.u32.f32 rf", "cvt.rzi.s64.f64 qd", "cvt.rzi.u64.f64 qd", "cvt.rpi.u64.f64 qd",
        "cvt.rni.ftz.f32.f32 ff", "cvt.rm.f32.f64 fd", "cvt.ftz.f64.f32 df", "cvt.rn.ftz.f32.f64 fd", "cvt.rm.f32.s32 fr", "cvt.rp.f32.u32 fr", "cvt.rm.f32.s64 fq",
        "cvt.rp.f32.s64 fq", "cvt.rz.f32.s64 fq", "cvt.rm.f32.u64 fq", "cvt.rp.f32.u64 fq", "cvt.rz.f32.u64 fq", "cvt.rz.f64.s64 dq", "cvt.rp.f64.u64 dq",
        "cvt.rm.f64.s64 dq", "cvt.rm.f16.f32 hf", "cvt.rm.bf16.f32 gf", "cvt.rp.bf16.f32 gf", "cvt.rm.f16.s32 hr", "cvt.rp.f16.s32 hr", "cvt.rz.f16.s32 hr",
        "cvt.rn.f16.s64 hq", "cvt.rn.f16.u64 hq", "cvt.rn.bf16.s32 gr", "cvt.rn.bf16.s64 gq", "cvt.rn.bf16.u64 gq", "cvt.f32.bf16 fg", "cvt.rzi.u16.f16 eh",
        "cvt.rni.s64.f16 qh", "cvt.rzi.u32.bf16 rg", "cvt.rni.f16.f16 hh", "cvt.rmi.f16.f16 hh", "cvt.rn.bf16.f64 gd", "cvt.rn.relu.f16.f32 hf",
        "cvt.rn.relu.f16x2.f32 vff", "cvt.rz.f16x2.f32 vff", "add.bf16 ggg", "sub.bf16 ggg", "mul.bf16 ggg", "add.bf16x2 www", "sub.bf16x2 www", "mul.bf16x2 www",
        "max.bf16x2 www", "min.NaN.bf16 ggg", "min.NaN.f16x2 vvv", "max.f16x2 vvv", "fma.rn.relu.bf16x2 wwww", "fma.rn.sat.f16x2 vvvv", "add.sat.f16x2 vvv",
        "add.rn.f16 hhh", "mul.rn.f16 hhh", "max.NaN.f16 hhh", "min.NaN.bf16x2 www", "set.eq.f16x2.f16x2 vvv", "set.geu.u32.f16x2 rvv", "set.ne.u32.f16x2 rvv",
        "set.lt.u32.bf16x2 rww", "set.gt.bf16x2.bf16x2 www", "setp.lt.f16x2 p|Pvv", "setp.neu.f16x2 p|Pvv", "setp.ge.bf16x2 p|Pww", "set.lt.f16.f16 hhh", "set.ge.bf16.f32 gff", "set.ne.s16.f16 ehh", "set.gt.u16.bf16 egg", "set.le.f16.s32 hrr",
        "set.gtu.u32.f16 rhh", "cvt.rna.tf32.f32 tf;mov.b32 ft", "cvt.rn.tf32.f32 tf;mov.b32 ft", "cvt.rn.satfinite.e4m3x2.f32 eff",
        "cvt.rn.satfinite.e5m2x2.f32 eff", "cvt.rn.satfinite.relu.e4m3x2.f32 eff", "cvt.rn.satfinite.e4m3x2.f16x2 ev", "cvt.rn.satfinite.e5m2x2.f16x2 ev",
        "cvt.rn.f16x2.e4m3x2 ve", "cvt.rn.f16x2.e5m2x2 ve", "cvt.rn.relu.f16x2.e4m3x2 ve", "add.u64 qqq", "mov.s32 rr", "cvt.rm.f32.u32 fr", "cvt.rp.f32.u64 fq",
        "set.gt.u32.f16x2 rvv", "set.lt.u32.f16x2 rvv", "div.approx.f32 fff", "div.full.f32 fff", "div.approx.ftz.f32 fff"
    };

    /** Forms whose operands are all b32, for registers that are uniform or go in steps. */
    static final String[] EVEN = {"add.s32 rrr", "sub.s32 rrr", "mul.lo.s32 rrr", "mad.lo.s32 rrrr", "shl.b32 rrs", "shr.u32 rrs", "shr.s32 rrs", "and.b32 rrr", "or.b32 rrr", "xor.b32 rrr", "min.s32 rrr", "max.u32 rrr",
        "div.u32 rrr", "rem.s32 rrr", "selp.b32 rrrp", "neg.s32 rr", "abs.s32 rr", "popc.b32 rr", "cvt.s32.s16 rr", "bfe.u32 rrss", "mul.hi.u32 rrr"};
}
