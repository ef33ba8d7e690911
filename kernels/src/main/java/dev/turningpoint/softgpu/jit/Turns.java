package dev.turningpoint.softgpu.jit;

/**
 * How the warps of a block take turns where they wait otherwise than all at one barrier: code of the entry function, and of what it calls when a warp arrives
 * somewhere. The block's state is an array of int: for each warp where it goes on (-1: it has ended), the barrier it waits at (its number + 1, 0: none), and
 * of the barrier that let it go the sum of the predicates and the number of threads; then for each of the 16 barriers the threads that have
 * arrived (whole warps count as 32), those expected (-1: the block), sum and number.
 */
final class Turns {
    private final int warps;

    Turns(int warps) { this.warps = warps; }

    long stateBytes() { return 4L * (4 * warps + 64); }

    int waitsAt() { return warps; }
    int sumAt() { return 2 * warps; }
    int threadsAt() { return 3 * warps; }

    /** {@code tp_arrive}: a warp arrives at a barrier. {@code tp_settle}: barriers where all have arrived let their warps go. */
    String helpers() {
        return """
                define internal void @tp_arrive(ptr %state, i32 %id, i32 %expected, i32 %lanes, i32 %sum) noinline #0 {
                  %i = and i32 %id, 15
                  %f = shl i32 %i, 2
                  %at = add i32 %f, FOUR
                  %b = getelementptr i32, ptr %state, i32 %at
                  %a0 = load i32, ptr %b
                  %a1 = add i32 %a0, 32
                  store i32 %a1, ptr %b
                  %e = getelementptr i32, ptr %b, i32 1
                  store i32 %expected, ptr %e
                  %s = getelementptr i32, ptr %b, i32 2
                  %s0 = load i32, ptr %s
                  %s1 = add i32 %s0, %sum
                  store i32 %s1, ptr %s
                  %n = getelementptr i32, ptr %b, i32 3
                  %n0 = load i32, ptr %n
                  %n1 = add i32 %n0, %lanes
                  store i32 %n1, ptr %n
                  ret void
                }
                define internal void @tp_settle(ptr %state) noinline #0 {
                entry:
                  br label %count
                count:
                  %w = phi i32 [ 0, %entry ], [ %w1, %count ]
                  %alive = phi i32 [ 0, %entry ], [ %alive1, %count ]
                  %wp = getelementptr i32, ptr %state, i32 %w
                  %ws = load i32, ptr %wp
                  %dead = icmp eq i32 %ws, -1
                  %one = select i1 %dead, i32 0, i32 32
                  %alive1 = add i32 %alive, %one
                  %w1 = add i32 %w, 1
                  %wm = icmp ult i32 %w1, WARPS
                  br i1 %wm, label %count, label %barriers
                barriers:
                  %id = phi i32 [ 0, %count ], [ %id1, %next ]
                  %f = shl i32 %id, 2
                  %at = add i32 %f, FOUR
                  %b = getelementptr i32, ptr %state, i32 %at
                  %arrived = load i32, ptr %b
                  %ep = getelementptr i32, ptr %b, i32 1
                  %expected = load i32, ptr %ep
                  %whole = icmp slt i32 %expected, 0
                  %need = select i1 %whole, i32 %alive1, i32 %expected
                  %some = icmp ne i32 %arrived, 0
                  %enough = icmp sge i32 %arrived, %need
                  %go = and i1 %some, %enough
                  %key = add i32 %id, 1
                  br i1 %go, label %release, label %next
                release:
                  %sp = getelementptr i32, ptr %b, i32 2
                  %sum = load i32, ptr %sp
                  %np = getelementptr i32, ptr %b, i32 3
                  %threads = load i32, ptr %np
                  store i32 0, ptr %b
                  store i32 0, ptr %sp
                  store i32 0, ptr %np
                  br label %each
                each:
                  %v = phi i32 [ 0, %release ], [ %v1, %after ]
                  %vi = add i32 %v, WARPS
                  %vp = getelementptr i32, ptr %state, i32 %vi
                  %vw = load i32, ptr %vp
                  %mine = icmp eq i32 %vw, %key
                  br i1 %mine, label %wake, label %after
                wake:
                  store i32 0, ptr %vp
                  %si = add i32 %v, TWO
                  %sv = getelementptr i32, ptr %state, i32 %si
                  store i32 %sum, ptr %sv
                  %ni = add i32 %v, THREE
                  %nv = getelementptr i32, ptr %state, i32 %ni
                  store i32 %threads, ptr %nv
                  br label %after
                after:
                  %v1 = add i32 %v, 1
                  %vm = icmp ult i32 %v1, WARPS
                  br i1 %vm, label %each, label %next
                next:
                  %id1 = add i32 %id, 1
                  %im = icmp ult i32 %id1, 16
                  br i1 %im, label %barriers, label %done
                done:
                  ret void
                }
                """.replace("WARPS", "" + warps).replace("TWO", "" + 2 * warps).replace("THREE", "" + 3 * warps).replace("FOUR", "" + 4 * warps);
    }

    /**
     * The block's turn, between the lines that find its place in the grid and those that end it. A turn runs each warp that does not wait until it does; if
     * none ran, none ever will. Where {@code %end} is -1 only one turn is done, and -1 says that there is more to do.
     *
     * @param call of the warp function with {@code %context}, {@code %state} and {@code %w}
     */
    String turns(String call, long shared, long states, long context) {
        return """
                  %states = getelementptr i8, ptr %scratch, i64 SHARED
                  br i1 %single, label %pass, label %clear
                clear:
                  call void @llvm.memset.p0.i64(ptr align 64 %states, i8 0, i64 STATES, i1 false)
                  br label %pass
                pass:
                  br label %warps
                warps:
                  %w = phi i32 [ 0, %pass ], [ %w.next, %warp.end ]
                  %living = phi i32 [ 0, %pass ], [ %living.next, %warp.end ]
                  %ran = phi i32 [ 0, %pass ], [ %ran.next, %warp.end ]
                  %state.at = getelementptr i32, ptr %states, i32 %w
                  %state = load i32, ptr %state.at
                  %finished = icmp eq i32 %state, -1
                  br i1 %finished, label %warp.end, label %lives
                lives:
                  %wait.at = getelementptr i32, ptr %state.at, i32 WARPS
                  %wait = load i32, ptr %wait.at
                  %waits = icmp ne i32 %wait, 0
                  br i1 %waits, label %warp.end, label %run
                run:
                  %w64 = zext i32 %w to i64
                  %context.offset = mul i64 %w64, CONTEXT
                  %contexts = getelementptr i8, ptr %states, i64 STATES
                  %context = getelementptr i8, ptr %contexts, i64 %context.offset
                  %r = CALL
                  %bad = icmp slt i32 %r, 0
                  br i1 %bad, label %fault, label %ended.or.not
                ended.or.not:
                  %ended = icmp eq i32 %r, 0
                  %new = select i1 %ended, i32 -1, i32 %r
                  store i32 %new, ptr %state.at
                  call void @tp_settle(ptr %states)
                  br label %warp.end
                warp.end:
                  %lives.on = phi i32 [ 0, %warps ], [ 1, %lives ], [ 1, %ended.or.not ]
                  %ran.now = phi i32 [ 0, %warps ], [ 0, %lives ], [ 1, %ended.or.not ]
                  %living.next = or i32 %living, %lives.on
                  %ran.next = or i32 %ran, %ran.now
                  %w.next = add i32 %w, 1
                  %w.more = icmp ult i32 %w.next, WARPS
                  br i1 %w.more, label %warps, label %pass.end
                pass.end:
                  %none.lives = icmp eq i32 %living.next, 0
                  br i1 %none.lives, label %all.ended, label %some.live
                all.ended:
                  br i1 %single, label %done, label %block.end
                some.live:
                  %stuck = icmp eq i32 %ran.next, 0
                  br i1 %stuck, label %stand.still, label %again
                stand.still:
                  ret i32 BARRIER
                again:
                  br i1 %single, label %more.to.do, label %pass
                more.to.do:
                  ret i32 -1
                """.replace("CALL", call).replace("SHARED", "" + shared).replace("STATES", "" + states).replace("CONTEXT", "" + context).replace("WARPS", "" + warps)
                .replace("BARRIER", "" + CompiledKernel.BARRIER);
    }
}
