package dev.turningpoint.softgpu.check;

import dev.turningpoint.softgpu.interpreter.Launch;
import dev.turningpoint.softgpu.interpreter.Watch;

import java.util.function.Consumer;

/**
 * Checks every launch of a device, as the tools of NVIDIA's compute-sanitizer do.
 *
 * <table>
 * <caption>What is found, and how a launch ends</caption>
 * <tr><th>out of bounds, use after free<td>global, shared, local, constant memory and parameters; red zones lie between allocations, what was freed is not given out again soon
 *     <td>at once, ILLEGAL_ADDRESS
 * <tr><th>misaligned<td>an access at no multiple of its size<td>at once, MISALIGNED_ADDRESS
 * <tr><th>uninitialised read<td>a byte of device memory that no kernel, copy, fill or matrix product wrote since it was allocated, or of shared memory that the block did not write;
 *     matrix products read too; elements of a vector that nobody uses may be padding, and copying (by the driver) what nobody wrote is no fault, the copy is as unwritten<td>at its end, LAUNCH_FAILED
 * <tr><th>race<td>in shared memory between threads of a block, see {@link SharedMemory}; in device memory between blocks, see {@link BlockRaces}<td>at its end, LAUNCH_FAILED
 * <tr><th>divergent barrier<td>warps of a block that meet at different lines at a barrier of the whole block<td>at its end, LAUNCH_FAILED
 * <tr><th>(no name)<td>an aligned barrier that part of a warp comes to, threads that wait for who cannot come any more, masks without their lane<td>at once, LAUNCH_FAILED or ILLEGAL_INSTRUCTION
 * </table>
 *
 * <p>What lets a launch run to its end is collected, of the same instructions once, named for the first block of the grid. The first is the launch's reason to fail, the others
 * stand in the log before it. Threads that have ended are not awaited by a barrier, as on sm_70 and later.
 */
public final class Checker implements Watch {
    private final Allocations allocations = new Allocations();
    private final Consumer<String> log;

    /** @param log receives the findings of a launch beyond the first, a line each */
    public Checker(Consumer<String> log) { this.log = log; }

    /** What the device's owner keeps up to date. */
    public Allocations allocations() { return allocations; }

    @Override
    public Watched begins(Launch launch) { return new CheckedLaunch(launch, allocations, log); }
}
