package dev.turningpoint.softgpu.fuzz;

import dev.turningpoint.softgpu.fuzz.KernelGenerator.Kind;

import java.util.Random;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** What all threads of a block do together: exchanges between the lanes of a warp or the threads of the block, barriers, matrices. */
final class Exchanges {
    private final KernelGenerator k;
    private final Random random;
    private boolean written;   // threads may still be reading shared memory


    Exchanges(KernelGenerator kernel, Random random) {
        k = kernel;
        this.random = random;
    }

    /** One that comes again and again. */
    void inLoop() {
        written = true;
        any();
        written = true;
    }

    void any() {
        boolean whole = k.threads() % 32 == 0;
        switch (random.nextInt(whole ? 40 : 26)) {   // seldom what makes much code
            case 0, 1, 2, 3, 4 -> shuffle(whole);
            case 5, 6, 7 -> vote();
            case 8, 9 -> k.line("redux.sync." + reduction() + " " + k.register(Kind.B32) + ", " + k.register(Kind.B32) + ", -1");
            case 10, 11 -> match();
            case 12, 13, 14, 15 -> counters();
            case 16, 17 -> barrier();
            case 18, 19 -> copies();
            case 20 -> barrierObject();
            case 21, 22, 23, 24, 25 -> neighbours();
            case 26, 27, 28, 29 -> tiles();
            case 30, 31 -> loadMatrix();
            case 32, 33 -> storeMatrix();
            case 34, 35, 36, 37 -> multiply();
            case 38 -> warpMatrices();
            default -> turnstile();
        }
    }

    private String reduction() { return k.pick("add.s32", "add.u32", "min.s32", "max.s32", "min.u32", "max.u32", "and.b32", "or.b32", "xor.b32"); }

    // ---- lanes of a warp

    private void shuffle(boolean whole) {
        String d = k.register(Kind.B32), a = k.register(Kind.B32), p = random.nextBoolean() ? "|" + k.predicate() : "";
        int fewest = whole ? 32 : k.threads() % 32;   // lanes of the last warp
        String mode = whole ? k.pick("up", "down", "bfly", "idx") : "idx";
        if (random.nextBoolean()) k.line("shfl.sync." + mode + ".b32 " + d + p + ", " + a + ", " + random.nextInt(fewest) + ", " + (whole ? clamp(mode, 6175) : 31) + ", -1");
        else {
            k.line(whole ? "and.b32 %t7, " + k.register(Kind.B32) + ", 31" : "rem.u32 %t7, " + k.register(Kind.B32) + ", " + fewest);
            k.line("shfl.sync." + mode + ".b32 " + d + p + ", " + a + ", %t7, " + (whole ? clamp(mode, 4127) : 31) + ", -1");
        }
    }

    /** Of the whole warp, or of segments. */
    private int clamp(String mode, int segments) { return random.nextBoolean() ? segments : mode.equals("up") && random.nextBoolean() ? 0 : 31; }

    private void vote() {
        String p = (random.nextBoolean() ? "!" : "") + k.predicate();
        switch (random.nextInt(4)) {
            case 0 -> k.line("vote.sync." + k.pick("all", "any", "uni") + ".pred " + k.predicate() + ", " + p + ", -1");
            case 1 -> { k.line("bar.warp.sync -1"); k.line("elect.sync " + k.register(Kind.B32) + "|" + k.predicate() + ", -1"); }
            default -> k.line("vote.sync.ballot.b32 " + k.register(Kind.B32) + ", " + p + ", -1");
        }
    }

    private void match() {
        String d = k.register(Kind.B32), a = k.register(Kind.B32);
        if (random.nextInt(3) > 0) k.line("and.b32 " + a + ", " + a + ", 3");
        switch (random.nextInt(8)) {
            case 2, 3, 4 -> k.line("match.all.sync.b32 " + d + "|" + k.predicate() + ", " + a + ", -1");
            case 1 -> k.line("match.any.sync.b64 " + d + ", " + k.wide() + ", -1");
            default -> k.line("match.any.sync.b32 " + d + ", " + a + ", -1");
        }
    }

    /** Groups of 2 to 16 neighbouring lanes, each by itself. */
    private void tiles() {
        int size = 1 << 1 + random.nextInt(4);
        String d = k.register(Kind.B32), a = k.register(Kind.B32);
        k.line("and.b32 %t14, %t0, " + (32 - size));
        k.line("shl.b32 %t14, " + ((1 << size) - 1) + ", %t14");
        switch (random.nextInt(5)) {
            case 0 -> k.line("redux.sync." + reduction() + " " + d + ", " + a + ", %t14");
            case 1 -> k.line("vote.sync.ballot.b32 " + d + ", " + k.predicate() + ", %t14");
            case 2 -> k.line("vote.sync." + k.pick("all", "any", "uni") + ".pred " + k.predicate() + ", " + k.predicate() + ", %t14");
            case 3 -> {
                k.line("and.b32 " + a + ", " + a + ", 1");
                k.line(random.nextBoolean() ? "match.any.sync.b32 " + d + ", " + a + ", %t14" : "match.all.sync.b32 " + d + "|" + k.predicate() + ", " + a + ", %t14");
            }
            default -> k.line("shfl.sync.bfly.b32 " + d + ", " + a + ", " + random.nextInt(size) + ", " + (31 | 32 - size << 8) + ", %t14");
        }
    }

    // ---- the block

    private void sync() {
        switch (random.nextInt(24)) {
            case 0 -> k.line("barrier.sync " + random.nextInt(4));
            case 1 -> k.line("bar.sync " + (1 + random.nextInt(3)) + ", " + (k.threads() + 31) / 32 * 32);
            case 2 -> k.line("bar.red.popc.u32 %t9, 0, " + k.predicate());
            default -> k.line("bar.sync 0");
        }
    }

    /** Before shared memory is written. */
    private void free() {
        if (written) sync();
        written = true;
    }

    private void barrier() {
        switch (random.nextInt(3)) {
            case 0 -> k.line("bar.red.popc.u32 " + k.register(Kind.B32) + ", " + random.nextInt(3) + ", " + (random.nextBoolean() ? "!" : "") + k.predicate());
            case 1 -> k.line("bar.red." + k.pick("and", "or") + ".pred " + k.predicate() + ", 0, " + k.predicate());
            default -> k.line("barrier.sync 0");
        }
    }

    /** Every thread reads what another wrote. */
    private void neighbours() {
        free();
        String d = k.register(Kind.B32);
        k.line("mov.u32 %t4, " + k.shared("exchange", k.threads() * 16));
        k.line("shl.b32 %t5, %t0, 3");
        k.line("add.u32 %t5, %t4, %t5");
        switch (random.nextInt(5)) {
            case 0 -> k.line("st.shared.b64 [%t5], " + k.wide());
            case 1 -> k.line("st.shared.v2.b32 [%t5], {" + k.register(Kind.B32) + ", " + k.register(Kind.INDEX) + "}");
            case 2 -> {   // each its own word
                k.line("st.shared.b64 [%t5], %a6");
                k.line(k.guard() + "atom.shared." + k.pick("exch.b32 ", "inc.u32 ", "dec.u32 ", "add.u32 ", "max.s32 ") + k.register(Kind.B32) + ", [%t5+4], " + k.register(Kind.B32));
                k.line("atom.shared.cas.b32 " + k.register(Kind.B32) + ", [%t5], " + k.register(Kind.B32) + ", " + k.register(Kind.B32));
            }
            default -> {
                k.line("st.shared.b64 [%t5], %a6");
                k.line(k.guard() + "st.shared." + k.pick("u8", "u16", "b32") + " [%t5+4], " + k.register(Kind.B32));
            }
        }
        sync();
        read(d, 3);
    }

    /** From {@code exchange}, at the place of a thread at some distance, or of any, where each thread wrote {@code 1 << shift} bytes. */
    private void read(String d, int shift) {
        if (random.nextBoolean()) k.line("add.u32 %t6, %t0, " + (1 + random.nextInt(40)));
        else k.line("add.u32 %t6, " + k.register(Kind.B32) + ", %t0");
        k.line("rem.u32 %t6, %t6, " + k.threads());
        k.line("shl.b32 %t6, %t6, " + shift);
        k.line("add.u32 %t6, %t4, %t6");
        switch (shift < 3 ? 4 : random.nextInt(6)) {
            case 0 -> k.line("ld.shared.b64 " + k.wide() + ", [%t6]");
            case 1 -> k.line("ld.shared.v2.b32 {" + d + ", %t8}, [%t6]");
            case 2 -> k.line("ld.shared." + k.pick("u8", "s8", "u16", "s16") + " " + d + ", [%t6+2]");
            case 3 -> {
                k.line("cvt.u64.u32 %a5, %t6");
                k.line("cvta.shared.u64 %a5, %a5");
                k.line("ld.b32 " + d + ", [%a5+4]");
            }
            case 4 -> k.line("ld.shared.b32 " + d + ", [%t6]");
            default -> k.line("ld." + k.pick("volatile", "relaxed.cta", "acquire.cta") + ".shared.b32 " + d + ", [%t6+4]");
        }
    }

    /** Counters of the block that all threads add to, one operation each. */
    private void counters() {
        free();
        String d = k.register(Kind.B32), a = k.register(Kind.B32);
        int n = random.nextInt(KernelGenerator.SUMS.length);
        k.line("mov.u32 %t4, " + k.shared("counters", 4 * KernelGenerator.COUNTERS));
        k.line("setp.lt.u32 %p4, %t0, " + KernelGenerator.COUNTERS);
        k.line("shl.b32 %t5, %t0, 2");
        k.line("add.u32 %t5, %t4, %t5");
        k.line("@%p4 st.shared.b32 [%t5], %t1");
        sync();
        if (random.nextBoolean()) {
            k.line("and.b32 %t6, " + k.register(Kind.B32) + ", 12");   // any of four
            k.line("add.u32 %t6, %t6, %t4");
        } else k.line("mov.u32 %t6, %t4");
        if (random.nextInt(4) == 0) k.line(k.guard() + "red.shared." + k.pick("add.u64", "max.u64", "min.s64") + " [%t4+16], " + k.wide());
        k.line(k.guard() + (random.nextBoolean() ? k.pick("red.shared.", "red.relaxed.cta.shared.") + KernelGenerator.SUMS[n] + " [%t6], " : "atom.shared." + KernelGenerator.SUMS[n] + " %t9, [%t6], ") + a);
        sync();
        k.line("ld.shared.b32 " + d + ", [%t4+" + 4 * random.nextInt(6) + "]");
    }

    /** Global memory to shared memory without a register between. */
    private void copies() {
        free();
        String d = k.register(Kind.B32);
        int shift = 2 + random.nextInt(3);
        k.line("mov.u32 %t4, " + k.shared("exchange", k.threads() * 16));
        k.line("shl.b32 %t5, %t0, " + shift);
        k.line("add.u32 %t5, %t4, %t5");
        k.line("mad.wide.u32 %a5, %t0, " + (1 << shift) * (1 + random.nextInt(2)) + ", %a1");
        if (shift == 4 && random.nextBoolean()) k.line("cp.async.cg.shared.global [%t5], [%a5], 16");
        else k.line("cp.async.ca.shared.global [%t5], [%a5], " + (1 << shift));
        if (random.nextBoolean()) {
            k.line("cp.async.commit_group");
            k.line("cp.async.wait_group 0");
        } else k.line("cp.async.wait_all");
        sync();
        read(d, shift);
    }

    /** All threads arrive and wait until all have. */
    private void barrierObject() {
        free();
        String d = k.register(Kind.B32);
        int n = k.label();
        k.line("mov.u32 %t4, " + k.shared("exchange", k.threads() * 16));
        k.line("mov.u32 %t9, " + k.shared("gate", 8));
        k.line("setp.ne.u32 %p4, %t0, 0");
        k.line("@%p4 bra MADE" + n);
        k.line("mbarrier.init.shared.b64 [%t9], " + k.threads());
        k.label("MADE" + n);
        k.line("shl.b32 %t5, %t0, 2");
        k.line("add.u32 %t5, %t4, %t5");
        k.line("st.shared.b32 [%t5], " + k.register(Kind.B32));
        k.line("bar.sync 0");
        boolean parity = random.nextBoolean();
        k.line("mbarrier.arrive.shared.b64 " + (parity ? "_" : "%a7") + ", [%t9]");
        k.label("WAIT" + n);
        k.line("mbarrier." + k.pick("test_wait", "try_wait") + (parity ? ".parity" : "") + ".shared.b64 %p5, [%t9], " + (parity ? "0" : "%a7"));
        k.line("@!%p5 bra WAIT" + n);
        read(d, 2);
        k.line("bar.sync 0");
        k.line("@%p4 bra GONE" + n);
        k.line("mbarrier.inval.shared.b64 [%t9]");
        k.label("GONE" + n);
    }

    /** The first warp waits for the others, which do not wait for it. */
    private void turnstile() {
        if (k.threads() == 32) { barrier(); return; }
        free();
        String d = k.register(Kind.B32);
        int n = k.label();
        k.line("mov.u32 %t4, " + k.shared("exchange", k.threads() * 16));
        k.line("shl.b32 %t5, %t0, 2");
        k.line("add.u32 %t5, %t4, %t5");
        k.line("st.shared.b32 [%t5], " + k.register(Kind.B32));
        k.line("mov.u32 %t6, %warpid");
        k.line("setp.eq.u32 %p5, %t6, 0");
        k.line("@%p5 bra WAITS" + n);
        k.line("bar.arrive 4, " + k.threads());
        k.line("bra PAST" + n);
        k.label("WAITS" + n);
        k.line("bar.sync 4, " + k.threads());
        read(d, 2);
        k.label("PAST" + n);
    }

    // ---- matrices

    /** Each lane's row of 16 bytes in shared memory, and the address of another lane's. */
    private void rows() {
        free();
        k.line("mov.u32 %t4, " + k.shared("rows", k.threads() * 16));
        k.line("shl.b32 %t5, %t0, 4");
        k.line("add.u32 %t5, %t4, %t5");
        k.line(random.nextBoolean() ? "st.shared.v4.b32 [%t5], " + k.registers(Kind.B32, 4) : "st.shared.v2.b64 [%t5], " + k.registers(Kind.B64, 2));
        k.line("bar.sync 0");
        k.line("xor.b32 %t6, %t0, " + (random.nextBoolean() ? 0 : random.nextInt(32)));
        k.line("shl.b32 %t6, %t6, 4");
        k.line("add.u32 %t6, %t4, %t6");
    }

    /** Numbers of matrices, and that many registers. */
    private String[] several() {
        int n = 1 << random.nextInt(3);
        return new String[]{"x" + n, k.registers(Kind.B32, n)};
    }

    private void loadMatrix() {
        rows();
        String[] m = several();
        k.line("ldmatrix.sync.aligned.m8n8." + m[0] + (random.nextBoolean() ? ".trans" : "") + ".shared.b16 " + m[1] + ", [%t6]");
    }

    private void storeMatrix() {
        if (random.nextInt(3) == 0) {
            k.line("movmatrix.sync.aligned.m8n8.trans.b16 " + k.register(Kind.B32) + ", " + k.register(Kind.B32));
            return;
        }
        rows();
        String[] m = several();
        k.line("bar.sync 0");
        k.line("stmatrix.sync.aligned.m8n8." + m[0] + (random.nextBoolean() ? ".trans" : "") + ".shared.b16 [%t6], " + m[1]);
        k.line("bar.sync 0");
        k.line("ld.shared.v4.b32 " + k.registers(Kind.B32, 4) + ", [%t5]");
    }

    /** A word of numbers whose products and their sums are exact in whatever order: halves with signs, or integers. */
    private void factor(String to, String type) {
        String mask = switch (type) { case "bf16", "f16" -> "0x80008000"; default -> "0x80000000"; };
        String half = switch (type) { case "bf16" -> "0x3F003F00"; case "f16" -> "0x38003800"; case "f64" -> "0x3FE00000"; default -> "0x3F000000"; };
        k.line("mul.lo.u32 " + to + ", " + k.register(Kind.B32) + ", " + (2 * random.nextInt(1 << 20) + 1));
        if (type.endsWith("8")) return;
        k.line("and.b32 " + to + ", " + to + ", " + mask);
        k.line("or.b32 " + to + ", " + to + ", " + half);
    }

    private static String temporaries(int first, int count) { return IntStream.range(first, first + count).mapToObj(n -> "%t" + n).collect(Collectors.joining(", ", "{", "}")); }

    private void multiply() {
        String type = random.nextInt(8) == 0 ? "f64" : k.pick("bf16", "f16", "tf32", "s8", "u8");
        int left, right;   // registers of the factors
        String size, d, all;
        switch (type) {
            case "tf32" -> { boolean k8 = random.nextBoolean(); size = k8 ? "m16n8k8" : "m16n8k4"; left = k8 ? 4 : 2; right = k8 ? 2 : 1; }
            case "s8", "u8" -> { boolean k32 = random.nextBoolean(); size = k32 ? "m16n8k32" : "m16n8k16"; left = k32 ? 4 : 2; right = k32 ? 2 : 1; }
            case "f64" -> { doubles(); return; }
            default -> { boolean k16 = random.nextBoolean(); size = k16 ? "m16n8k16" : "m16n8k8"; left = k16 ? 4 : 2; right = k16 ? 2 : 1; }
        }
        for (int n = 0; n < left + right; n++) factor("%t" + (16 + n), type);
        if (type.endsWith("8")) {
            d = k.registers(Kind.B32, 4);
            all = (random.nextInt(3) == 0 ? "satfinite." : "") + "s32." + type + "." + k.pick("s8", "u8") + ".s32";
        } else if (type.equals("f16") && random.nextBoolean()) {   // sums in halves
            d = "{%t24, %t25}";
            factor("%t24", type);
            factor("%t25", type);
            all = "f16.f16.f16.f16";
        } else {
            d = k.registers(Kind.F32, 4);
            for (int n = 0; n < 4; n++) {
                k.line("and.b32 %t7, " + k.register(Kind.B32) + ", 1023");
                k.line("cvt.rn.f32.s32 %f" + n + ", %t7");
            }
            all = "f32." + type + "." + type + ".f32";
        }
        k.line("mma.sync.aligned." + size + ".row.col." + all + " " + d + ", " + temporaries(16, left) + ", " + temporaries(16 + left, right) + ", " + d);
        if (d.startsWith("{%t")) for (int n = 0; n < 2; n++) k.line("xor.b32 %r" + n + ", %r" + n + ", %t" + (24 + n));
        if (d.startsWith("{%t")) k.registers(Kind.B32, 2);
    }

    private void doubles() {
        int left, right;
        String size;
        switch (random.nextInt(12) / 3 * random.nextInt(2)) {
            case 0 -> { size = "m8n8k4"; left = 1; right = 1; }
            case 1 -> { size = "m16n8k4"; left = 2; right = 1; }
            case 2 -> { size = "m16n8k8"; left = 4; right = 2; }
            default -> { size = "m16n8k16"; left = 8; right = 4; }
        }
        int sums = size.startsWith("m8") ? 2 : 4;
        for (int n = 0; n < left + right + sums; n++) {
            factor("%t16", "f64");
            k.line("mov.b64 %z" + n + ", {0, %t16}");
        }
        String c = IntStream.range(left + right, left + right + sums).mapToObj(n -> "%z" + n).collect(Collectors.joining(", ", "{", "}"));
        k.line("mma.sync.aligned." + size + ".row.col.f64.f64.f64.f64 " + c + ", " + IntStream.range(0, left).mapToObj(n -> "%z" + n).collect(Collectors.joining(", ", "{", "}")) + ", "
                + IntStream.range(left, left + right).mapToObj(n -> "%z" + n).collect(Collectors.joining(", ", "{", "}")) + ", " + c);
        for (int n = 0; n < 2; n++) k.line("cvt.rni.s32.f64 " + k.register(Kind.B32) + ", %z" + (left + right + n + (sums - 2) * random.nextInt(2)));
    }

    /** Two matrices and a third in shared memory; their product and sum there, of each warp one. */
    private void warpMatrices() {
        free();
        String type = k.pick("f16", "bf16", "tf32", "s8", "u8", "f64"), size = k.pick("m16n16k16", "m32n8k16", "m8n32k16"), sum = "f32";
        int a, b, c = 8;
        switch (type) {
            case "f16" -> { a = 8; b = 8; if (random.nextBoolean()) { sum = "f16"; c = 4; } }
            case "bf16" -> { a = switch (size) { case "m16n16k16" -> 4; case "m32n8k16" -> 8; default -> 2; }; b = 16 / a; if (a == 4) b = 4; }
            case "s8", "u8" -> { a = switch (size) { case "m16n16k16" -> 2; case "m32n8k16" -> 4; default -> 1; }; b = 4 / a; sum = "s32"; }
            case "tf32" -> { size = "m16n16k8"; a = 4; b = 4; }
            default -> { size = "m8n8k4"; a = 1; b = 1; c = 2; sum = "f64"; }
        }
        int m = part(size, 'm', 'n'), n = part(size, 'n', 'k'), depth = Integer.parseInt(size.substring(size.indexOf('k') + 1));
        k.line("shl.b32 %t5, %t0, 4");
        fill("left", type, type.equals("f64") ? 256 : 1024);
        fill("right", type, type.equals("f64") ? 256 : 1024);
        fill("third", sum, 1024);
        k.line("bar.sync 0");
        String how = k.pick("row", "col"), other = k.pick("row", "col"), last = k.pick("row", "col");
        String x = values(type.equals("f64") ? "%z" : "%t", 16, a), y = values(type.equals("f64") ? "%z" : "%t", 16 + a, b), z = values(switch (sum) { case "f32" -> "%y2"; case "f64" -> "%z"; default -> "%t"; }, 0, c);
        if (sum.equals("f32")) z = IntStream.range(0, c).mapToObj(i -> "%s" + i).collect(Collectors.joining(", ", "{", "}"));
        else if (sum.equals("f64")) z = "{%z0, %z1}";
        else z = values("%t", 36, c);
        k.line("wmma.load.a.sync.aligned." + how + "." + size + ".shared." + type + " " + x + ", [left], " + (how.equals("row") ? depth : m));
        k.line("wmma.load.b.sync.aligned." + other + "." + size + ".shared." + type + " " + y + ", [right], " + (other.equals("row") ? n : depth));
        k.line("wmma.load.c.sync.aligned." + last + "." + size + ".shared." + sum + " " + z + ", [third], " + (last.equals("row") ? n : m));
        String types = type.equals("f16") ? sum + "." + sum : sum + "." + type + "." + type + "." + sum;
        k.line("wmma.mma.sync.aligned." + how + "." + other + "." + size + "." + types + " " + z + ", " + x + ", " + y + ", " + z);
        k.line("shr.u32 %t6, %t0, 5");
        k.line("mov.u32 %t4, " + k.shared("product", k.threads() / 32 * 1024));
        k.line("mad.lo.u32 %t6, %t6, 1024, %t4");
        k.line("wmma.store.d.sync.aligned." + how + "." + size + ".shared." + sum + " [%t6], " + z + ", " + (how.equals("row") ? n : m));
        k.line("bar.sync 0");
        k.line("and.b32 %t7, %t0, 31");
        k.line("shl.b32 %t7, %t7, 4");
        k.line("add.u32 %t6, %t6, %t7");
        k.line("ld.shared.v4.b32 " + k.registers(Kind.B32, 4) + ", [%t6]");
    }

    private static int part(String size, char from, char to) { return Integer.parseInt(size.substring(size.indexOf(from) + 1, size.indexOf(to))); }

    private static String values(String prefix, int first, int count) { return IntStream.range(first, first + count).mapToObj(n -> prefix + n).collect(Collectors.joining(", ", "{", "}")); }

    /** Each thread fills 16 bytes, and again behind them until all are full. */
    private void fill(String array, String type, int bytes) {
        k.line("mov.u32 %t4, " + k.shared(array, Math.max(bytes, 16 * k.threads()) + 16 * k.threads()));
        k.line("add.u32 %t6, %t4, %t5");
        for (int at = 0; at < bytes; at += 16 * k.threads()) {
            for (int n = 8; n < 10; n++) {
                if (type.equals("s32")) k.line("xor.b32 %t" + n + ", " + k.register(Kind.B32) + ", " + random.nextInt());
                else factor("%t" + n, type);
            }
            k.line("st.shared.v4.b32 [%t6+" + at + "], " + (type.equals("f64") ? "{0, %t8, 0, %t9}".replace("0,", "%t15,") : "{%t8, %t9, %t9, %t8}"));
        }
    }
}
