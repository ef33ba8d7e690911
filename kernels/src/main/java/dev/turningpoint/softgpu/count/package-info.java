/**
 * The counting mode: what a profiler shows of a launch on a GPU, counted on the software GPU, with what ptxas gave the kernel, how much of a multiprocessor that
 * leaves in use, and an estimate of the time from them. It looks on at the interpreter ({@code softgpu.interpreter}) through {@code Watch}; its counts go to
 * {@code turningpoint profile} and to tests. Of {@code softgpu} this package alone is imported elsewhere.
 *
 * <p>Counts are exact for the PTX; what ptxas makes of it differs a little (it merges address arithmetic, unrolls, turns divisions into several instructions).
 * In brackets what Nsight Compute calls it.
 *
 * <ul>
 * <li><b>warp instructions</b>: executions by a warp of one PTX instruction with at least one lane, guards that hold for none included
 *     [{@code smsp__inst_executed.sum}]; by {@link dev.turningpoint.softgpu.count.InstructionClass} [{@code sm__inst_executed_pipe_*}]</li>
 * <li><b>thread instructions</b>: their lanes [{@code smsp__thread_inst_executed.sum}], and those whose guard holds
 *     [{@code smsp__thread_inst_executed_pred_on.sum}]</li>
 * <li><b>global requests</b>: executions that access global memory in at least one lane, however wide
 *     [{@code l1tex__t_requests_pipe_lsu_mem_global_op_ld.sum}, {@code _st}, {@code _atom}, {@code _red}]; an instruction that names no space is counted where its
 *     addresses point, in each space once</li>
 * <li><b>sectors</b>: aligned 32-byte pieces that a request touches [{@code l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum}, ...]; <b>ideal</b>: the distinct bytes it
 *     touches / 32, rounded up [{@code memory_l2_theoretical_sectors_global_ideal}]. Lanes that ask for the same bytes ask for one
 *     sector. One more than ideal is neighbours that do not begin with a sector; a request of two more or beyond is called <b>uncoalesced</b></li>
 * <li><b>DRAM bytes</b>: 32 times the distinct sectors that the launch reads, and that it writes; one that is read and written counts in both. What a cold
 *     second-level cache that keeps everything would move [{@code dram__bytes_read.sum}, {@code dram__bytes_write.sum}]. To be held against the compulsory bytes that
 *     the kernel's header states</li>
 * <li><b>L2 bytes</b>: the same, each block by itself, added up: what a first-level cache that keeps a block's data and no other's would ask of the second
 *     [{@code lts__t_sectors_srcunit_tex.sum} x 32]. What it exceeds the DRAM bytes by, several blocks read</li>
 * <li><b>shared requests</b>: executions that access shared memory, {@code ldmatrix}, {@code stmatrix} and {@code cp.async}'s arrival included
 *     [{@code smsp__inst_executed_op_shared_ld.sum}, {@code _st}, {@code _atom}]; <b>passes</b>: 32 banks of 4 bytes give one word each at a time, a warp's access of up to 4
 *     bytes a lane is one pass, of 8 bytes one a half warp, of 16 bytes (a matrix of {@code ldmatrix} too) one a quarter; in each, as many as the most distinct words
 *     that one bank has to give [{@code l1tex__data_pipe_lsu_wavefronts_mem_shared.sum}]. Lanes that read or write the same word share it; atomic operations on it
 *     follow one another. <b>Bank conflicts</b>: passes beyond one [{@code l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum}]. Two halves that hardware may
 *     serve together, because they ask for the same words, are counted apart</li>
 * <li><b>local requests, sectors</b>: of {@code .local} variables of the PTX, the words of 32 lanes interleaved [{@code l1tex__t_requests_pipe_lsu_mem_local_op_*}];
 *     ptxas may still keep such a variable in registers, and what it spills shows in {@link dev.turningpoint.softgpu.count.Resources} alone</li>
 * <li><b>atomic requests, lanes</b>: executions of {@code atom} and {@code red}, and the lanes that do them</li>
 * <li><b>branches</b>: executions of conditional {@code bra} [{@code smsp__inst_executed_op_branch.sum}]; <b>divergent</b>: with lanes on both ways
 *     [{@code smsp__sass_branch_targets_threads_divergent.sum}]. ptxas turns short branches into guarded instructions, which do not diverge</li>
 * <li><b>barriers</b>: of blocks, completed</li>
 * <li><b>matrix products</b>: executions of {@code mma} [{@code smsp__inst_executed_pipe_tensor.sum}]; <b>flops</b>: 2 m n k each, by the type of its factors;
 *     outside of them an addition or product is one a lane, a fused product two [{@code smsp__sass_thread_inst_executed_op_fadd_pred_on.sum}, {@code fmul}, 2 x {@code ffma}],
 *     and nothing else counts</li>
 * </ul>
 */
package dev.turningpoint.softgpu.count;
