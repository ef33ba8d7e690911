package dev.turningpoint.cli;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.data.Prompts;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.reward.RewardMix;
import dev.turningpoint.train.RunConfig;
import dev.turningpoint.train.Trainer;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

@Command(name = "plan", description = "Says what memory training takes, before it starts and on a machine without the GPU; with --memory also how large its batches may be.",
        footer = {"", "The trainer is made as train makes it, on a device that counts allocations and does nothing else: no weights are read, and no memory is taken. Of a published model "
            + "(--model) the folder needs its JSON files only."})
final class PlanCommand implements Callable<Integer> {
    private static final String MEMORY = "turningpoint.software.memory";   // of the GPU that is planned for; the device that counts has no end
    /** What driver, context and compiled kernels take beside our allocations. */
    private static final long CONTEXT = 1L << 30;
    private static final int MOST = 16;

    @Mixin private ConfigOptions options;
    @Spec private CommandSpec spec;

    /**
     * What was allocated, in bytes.
     *
     * @param device of the device
     * @param host   of host memory
     * @param total  what the device has
     * @param by     purposes of the device's
     */
    private record Plan(long device, long host, long total, Map<String, Long> by) {}

    @Override
    public Integer call() {
        System.setProperty(Device.PLANNING, "true");
        options.assignments.add("device=software");
        RunConfig config = options.read();
        config.requireExploration();
        PrintWriter out = spec.commandLine().getOut();
        Plan plan = plan(config);
        show(out, config, plan);
        String memory = System.getProperty(MEMORY);
        if (memory != null) choose(out, config, memory, plan.total);
        out.flush();
        return 0;
    }

    private static void show(PrintWriter out, RunConfig config, Plan plan) {
        RunConfig.Train t = config.train();
        out.printf("%s: %d x %d, %s; %d trajectories, %s forward rows, micro-batches of %d%n", config.preset(), config.model().imageHeight(), config.model().imageWidth(),
                config.storage().name().toLowerCase(Locale.ROOT), t.trajectories(), config.sampler().forwardRows() == 0 ? "default" : config.sampler().forwardRows(), t.microBatch());
        plan.by.forEach((purpose, bytes) -> out.printf("%,18d  %s%n", bytes, purpose));
        out.printf("%,18d  bytes on the device%n%,18d  bytes of host memory%n", plan.device, plan.host);
    }

    /** The largest batches that fit: rows of a rollout's forward twice those of a micro-batch, as training keeps what a rollout forgets. Memory grows linearly with both. */
    private static void choose(PrintWriter out, RunConfig config, String memory, long total) {
        long room = total - CONTEXT, one = plan(sized(config, 1)).device, each = plan(sized(config, 2)).device - one;
        if (one > room) throw new CommandException("--memory " + memory + ": the smallest batches take " + InspectCommand.size(one) + ", and " + InspectCommand.size(Math.max(0, room)) + " are left beside the driver");
        int size = (int) Math.min(MOST, 1 + (room - one) / each);
        long taken = plan(sized(config, size)).device;
        out.printf("%s: --set train.micro_batch=%d --set sampler.forward_rows=%d takes %,d bytes; 1 GiB is left to the driver%n", memory, size, 2 * size, taken);
    }

    private static RunConfig sized(RunConfig config, int size) {
        return config.with("train.micro_batch=" + size, "sampler.forward_rows=" + 2 * size);
    }

    private static Plan plan(RunConfig config) {
        long before = HostMemory.outstanding();
        try (Device device = Device.open(); RewardMix rewards = RewardMix.of("none", batch -> new float[batch.count()], 1);
             var _ = new Trainer(device, config, rewards, new AnyPrompts(), Path.of("plan"))) {
            return new Plan(device.allocated(), HostMemory.outstanding() - before, device.totalMemory(), device.allocatedBy());
        }
    }

    /** As many different prompts as are asked for. */
    private record AnyPrompts() implements Prompts {
        @Override
        public List<Prompt> train(long iteration, int count) {
            return heldOut(0, count);
        }

        @Override
        public List<Prompt> heldOut(long seed, int count) {
            return IntStream.range(0, count).mapToObj(i -> new Prompt("prompt " + i, "A")).toList();
        }
    }
}
