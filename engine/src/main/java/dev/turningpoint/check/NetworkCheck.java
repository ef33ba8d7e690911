package dev.turningpoint.check;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.kernels.GrpoKernels;
import dev.turningpoint.kernels.OptimKernels;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.model.LoraConfig;
import dev.turningpoint.model.TransformerModel;
import dev.turningpoint.schedule.StepTable;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.weights.Checkpoint;
import dev.turningpoint.weights.Recognised;
import dev.turningpoint.weights.SafetensorsFile;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import tools.jackson.databind.JsonNode;

/**
 * {@code sd3_tiny} and {@code flux_tiny}: a whole network's output, activations and gradients, the same with the adapter of {@code peft_lora} beside it, guidance, and
 * two optimizer steps from latents to the adapter's new weights.
 */
final class NetworkCheck {
    private static final Tolerance OUTPUT = Tolerance.ofMax(1e-4), GRADIENT = Tolerance.ofMax(1e-3), LOSS = Tolerance.relative(1e-4, 1e-9), LOG_PROB = Tolerance.relative(1e-4, 1e-6);
    private static final String PEFT = "base_model.model.";

    private final Gpu gpu;
    private final Results results;
    private final Path folder;
    private final String family;
    private final boolean packed;
    private int batch, channels, height, width, tokens;

    NetworkCheck(Gpu gpu, Path folder, Results results) {
        this.gpu = gpu;
        this.results = results;
        this.folder = folder;
        family = folder.getFileName().toString();
        packed = family.startsWith("flux");
    }

    void run() throws java.io.IOException {
        try (var checkpoint = Checkpoint.open(folder.resolve("diffusion_pytorch_model.safetensors")); var io = new Golden(folder.resolve("io.safetensors"))) {
            Recognised network = Recognised.of(checkpoint);
            String shape = packed ? "pack.raw" : "in.hidden_states";
            batch = io.dimension(shape, 0);
            channels = io.dimension(shape, 1);
            height = io.dimension(shape, 2);
            width = io.dimension(shape, 3);
            tokens = io.dimension("in.encoder_hidden_states", 1);
            network(network, io);
            JsonNode config = tools.jackson.databind.json.JsonMapper.shared().readTree(Files.readString(adapterFolder().resolve("adapter_config.json")));
            var targets = new java.util.ArrayList<String>();
            config.get("target_modules").forEach(t -> targets.add(t.asString()));
            var lora = new LoraConfig(config.get("r").asInt(), config.get("lora_alpha").asDouble(), targets);
            try (var with = new Golden(folder.resolve("lora_io.safetensors"))) {
                adapter(network, lora, io, with);
                for (String type : new String[] {"grpo_step", "grpo_step_sde"}) {
                    try (var steps = new Golden(folder.resolve(type + ".safetensors"))) {
                        optimizerSteps(network, lora, io, with, steps);
                        left(steps);
                    }
                }
                left(with);
            }
            left(io);
        }
    }

    private Path adapterFolder() { return folder.resolveSibling("peft_lora").resolve(packed ? "flux" : "sd3").resolve("peft"); }

    private void left(Golden golden) {
        if (golden.untouched().isEmpty()) return;
        results.notCompared(family, golden.name + " " + String.join(", ", golden.untouched().stream().map(t -> t.replaceAll("[0-9]+", "#")).distinct().limit(5).toList()));
    }

    /** A model with the golden's prompts, and its inputs on the device; {@code negative} prompts follow the positive ones. */
    private final class Case implements AutoCloseable {
        final TransformerModel model;
        final int rows, n;
        final long latents, sigma, prompts, velocity;

        Case(Recognised network, GlyphModel.Trains trains, LoraConfig lora, boolean inputs, Golden io, Golden negative) {
            int known = negative == null ? batch : 2 * batch;
            rows = known;
            model = new TransformerModel(gpu.device, new TransformerModel.Options(network.architecture(), height, width, tokens, known, DType.F32, rows, rows, trains, lora, Set.of(), inputs));
            model.load(network, gpu.stream);
            n = model.latentSize();
            float[] text = io.f32("in.encoder_hidden_states"), pooled = io.f32("in.pooled_projections"), times = io.f32("in.timestep"), guidance = packed ? io.f32("in.guidance") : new float[batch];
            for (int b = 0; b < batch; b++) prompt(b, text, pooled, guidance[b]);
            if (negative != null) {
                float[] no = negative.f32("cfg.neg_encoder_hidden_states"), noPooled = negative.f32("cfg.neg_pooled_projections");
                for (int b = 0; b < batch; b++) prompt(batch + b, no, noPooled, 0);
            }
            float[] x = unpacked(io.f32("in.hidden_states")), both = Arrays.copyOf(x, rows * n), sigmas = new float[rows];
            for (int r = 0; r < rows; r++) {
                System.arraycopy(x, r % batch * n, both, r * n, n);
                sigmas[r] = packed ? times[r % batch] : times[r % batch] / 1000;
            }
            var numbers = new int[rows];
            Arrays.setAll(numbers, r -> r);
            latents = gpu.put(both);
            sigma = gpu.put(sigmas);
            prompts = gpu.put(numbers);
            velocity = gpu.floats(rows * n);
        }

        private void prompt(int number, float[] text, float[] pooled, float guidance) {
            try (Arena arena = Arena.ofConfined()) {
                int b = number % batch;
                model.setPrompt(number, part(arena, text, b), part(arena, pooled, b), guidance, gpu.stream);
            }
        }

        private MemorySegment part(Arena arena, float[] all, int b) {
            return arena.allocateFrom(ValueLayout.JAVA_FLOAT, Arrays.copyOfRange(all, all.length / batch * b, all.length / batch * (b + 1)));
        }

        void read(Path adapter) {
            try (var file = SafetensorsFile.open(adapter)) {
                Map<String, float[]> tensors = new HashMap<>();
                for (String t : file.names()) tensors.put(t.substring(PEFT.length()), file.floats(t));
                model.setAdapter(tensors, gpu.stream);
            }
        }

        float[] floats(Tensor t) { return gpu.floats(t.address(), (int) t.elements()); }

        @Override
        public void close() { model.close(); }
    }

    private void network(Recognised network, Golden io) {
        try (var c = new Case(network, GlyphModel.Trains.EVERYTHING, null, true, io, null); var grads = new Golden(folder.resolve("param_grads.safetensors"))) {
            c.model.velocity(gpu.stream, c.latents, c.sigma, c.prompts, c.velocity, batch);
            results.compare(family, "output", io, "out", packed(gpu.floats(c.velocity, batch * c.n)), OUTPUT);
            if (packed) results.compare(family, "output", io, "pack.unpacked_out", gpu.floats(c.velocity, batch * c.n), OUTPUT);
            if (packed) results.compare(family, "packing", io, "pack.raw", unpacked(io.f32("in.hidden_states")), Tolerance.EXACT);
            c.model.trainVelocity(gpu.stream, c.latents, c.sigma, c.prompts, c.velocity, batch);
            c.model.activations(gpu.stream).forEach((name, values) -> {
                // cos and sin of 1000 times the guidance: an angle of thousands has no more than these digits in f32, in which both compute it
                boolean angles = name.endsWith("second_call");
                if (io.has("act." + name)) results.compare(family, angles ? "sinusoid of the guidance" : "activations", io, "act." + name, values, angles ? Tolerance.absolute(1e-3) : OUTPUT);
            });
            c.model.zeroGradients(gpu.stream);
            c.model.backward(gpu.stream, gpu.put(unpacked(io.f32("in.gout"))), batch);
            inputGradients(c, io);
            c.model.tensors(c.model.trained().gradients(), gpu.stream).forEach((name, values) -> results.compare(family, "parameter gradients", grads, name, values, GRADIENT));
            left(grads);
        }
        if (!packed && io.has("nonsquare.out")) nonSquare(network, io);
    }

    private void inputGradients(Case c, Golden golden) {
        results.compare(family, "input gradients", golden, "grad.hidden_states", packed(c.floats(c.model.latentsGradient())), GRADIENT);
        results.compare(family, "input gradients", golden, "grad.encoder_hidden_states", c.floats(c.model.textGradient()), GRADIENT);
        results.compare(family, "input gradients", golden, "grad.pooled_projections", c.floats(c.model.pooledGradient()), GRADIENT);
    }

    private void nonSquare(Recognised network, Golden io) {
        int h = io.dimension("nonsquare.hidden_states", 2), w = io.dimension("nonsquare.hidden_states", 3);
        try (var model = new TransformerModel(gpu.device, TransformerModel.Options.inference(network.architecture(), h, w, tokens, 1, DType.F32, 1)); Arena arena = Arena.ofConfined()) {
            model.load(network, gpu.stream);
            float[] text = io.f32("in.encoder_hidden_states"), pooled = io.f32("in.pooled_projections");
            model.setPrompt(0, arena.allocateFrom(ValueLayout.JAVA_FLOAT, Arrays.copyOf(text, text.length / batch)),
                    arena.allocateFrom(ValueLayout.JAVA_FLOAT, Arrays.copyOf(pooled, pooled.length / batch)), 0, gpu.stream);
            long out = gpu.floats(model.latentSize());
            model.velocity(gpu.stream, gpu.put(io.f32("nonsquare.hidden_states")), gpu.put(io.f32("in.timestep")[0] / 1000), gpu.put(0), out, 1);
            results.compare(family, "output", io, "nonsquare.out", gpu.floats(out, model.latentSize()), OUTPUT);
        }
    }

    private void adapter(Recognised network, LoraConfig lora, Golden io, Golden with) {
        try (var c = new Case(network, GlyphModel.Trains.ADAPTER, lora, true, io, null)) {
            c.read(adapterFolder().resolve("adapter_model.safetensors"));
            c.model.trainVelocity(gpu.stream, c.latents, c.sigma, c.prompts, c.velocity, batch);
            results.compare(family, "output with LoRA", with, "out", packed(gpu.floats(c.velocity, batch * c.n)), OUTPUT);
            c.model.zeroGradients(gpu.stream);
            c.model.backward(gpu.stream, gpu.put(unpacked(with.f32("in.gout"))), batch);
            inputGradients(c, with);
            c.model.tensors(c.model.trained().gradients(), gpu.stream).forEach((name, values) -> results.compare(family, "LoRA gradients", with, "grad." + PEFT + name, values, GRADIENT));
        }
        if (!with.has("cfg.out")) return;
        float guidance = 4.5f;   // of the golden's README: v_neg + 4.5 (v_pos - v_neg)
        try (var c = new Case(network, GlyphModel.Trains.ADAPTER, lora, false, io, with)) {
            c.read(adapterFolder().resolve("adapter_model.safetensors"));
            c.model.trainVelocity(gpu.stream, c.latents, c.sigma, c.prompts, c.velocity, 2 * batch);
            float[] both = gpu.floats(c.velocity, 2 * batch * c.n), gout = with.f32("in.gout"), guided = new float[batch * c.n], gradient = new float[2 * batch * c.n];
            for (int i = 0; i < guided.length; i++) {
                guided[i] = both[guided.length + i] + guidance * (both[i] - both[guided.length + i]);
                gradient[i] = guidance * gout[i];
                gradient[guided.length + i] = (1 - guidance) * gout[i];
            }
            results.compare(family, "guidance", with, "cfg.out", guided, OUTPUT);
            c.model.zeroGradients(gpu.stream);
            c.model.backward(gpu.stream, gpu.put(gradient), 2 * batch);
            c.model.tensors(c.model.trained().gradients(), gpu.stream).forEach((name, values) -> results.compare(family, "LoRA gradients, guided", with, "cfg.grad." + PEFT + name, values, GRADIENT));
        }
    }

    /** Two updates of three steps each, as the engine makes them: log-prob, loss and gradient in one kernel, the reference with the adapter off, clipping and AdamW in another. */
    private void optimizerSteps(Recognised network, LoraConfig lora, Golden io, Golden negative, Golden golden) {
        JsonNode s = golden.settings();
        boolean guided = !packed;
        float guidance = (float) s.get("guidance_scale").asDouble(), clip = (float) s.get("clip_range").asDouble(), beta = (float) s.get("beta").asDouble();
        StepTable table = StepCheck.table(s.get("sde_type").asString(), golden.f64("sigmas"), s.get("noise_level").asDouble(), 0, s.get("schedule_steps").asInt());
        int steps = s.get("accumulation").asInt();
        try (var c = new Case(network, GlyphModel.Trains.ADAPTER, lora, false, io, guided ? negative : null)) {
            c.read(adapterFolder().resolve("adapter_model.safetensors"));
            Parameters trained = c.model.trained();
            int n = c.n, size = Math.toIntExact(trained.size());
            float[] x = golden.f32("sample.latents"), next = golden.f32("sample.next_latents"), times = golden.f32("sample.timesteps"), old = golden.f32("sample.log_probs");
            double[] advantages = golden.f64("sample.advantages");
            long coefficients = gpu.put(table.floats()), reference = gpu.floats(c.rows * n), gradient = gpu.floats(c.rows * n), stats = gpu.doubles(batch * GrpoKernels.STATS);
            long m = gpu.put(new float[size]), v = gpu.put(new float[size]), norm = gpu.doubles(1), scratch = gpu.array(OptimKernels.scratch(size)), half = DType.F32.bytes((long) batch * n);
            var undecided = new HashMap<String, boolean[]>();
            for (int update = 0; golden.has("step" + update + ".grad_norm"); update++) {
                c.model.zeroGradients(gpu.stream);
                for (int t = 0; t < steps; t++) {
                    var before = new float[c.rows * n];
                    var after = new float[batch * n];
                    var oldLogProb = new float[batch];
                    var advantage = new double[batch];
                    var rowStep = new int[batch];
                    var sigmas = new float[c.rows];
                    for (int b = 0; b < batch; b++) {
                        int at = b * steps + t;
                        rowStep[b] = step(table, times[at]);
                        System.arraycopy(unpackedOne(x, at, n), 0, before, b * n, n);
                        System.arraycopy(unpackedOne(next, at, n), 0, after, b * n, n);
                        oldLogProb[b] = old[at];
                        advantage[b] = advantages[at];
                    }
                    for (int r = 0; r < c.rows; r++) {
                        sigmas[r] = (float) table.schedule().sigma(rowStep[r % batch]);
                        if (r >= batch) System.arraycopy(before, (r - batch) * n, before, r * n, n);
                    }
                    long atX = gpu.put(before), atSigma = gpu.put(sigmas);
                    c.model.referenceVelocity(gpu.stream, atX, atSigma, c.prompts, reference, c.rows);
                    c.model.trainVelocity(gpu.stream, atX, atSigma, c.prompts, c.velocity, c.rows);
                    gpu.grpo.lossAndGradient(gpu.stream, DType.F32, atX, gpu.put(after), c.velocity, guided ? c.velocity + half : 0, guided ? guidance : 1, reference, guided ? reference + half : 0, 0,
                            coefficients, gpu.put(rowStep), gpu.put(oldLogProb), gpu.put(advantage), 5f, clip, beta, 1f / (batch * steps), gradient, guided ? gradient + half : 0, stats, batch, n);
                    c.model.backward(gpu.stream, gradient, c.rows);
                    double[] rows = gpu.doubles(stats, batch * GrpoKernels.STATS);
                    String at = "step" + update + ".t" + t + ".";
                    results.compare(family, "log-prob", golden, at + "logp", column(rows, GrpoKernels.LOG_PROB), LOG_PROB);
                    results.compare(family, "ratio", golden, at + "ratio", column(rows, GrpoKernels.RATIO), Tolerance.relative(1e-4));
                    double policy = mean(column(rows, GrpoKernels.POLICY_LOSS)), kl = mean(column(rows, GrpoKernels.KL));
                    results.compare(family, "losses", golden, at + "policy_loss", new double[] {policy}, LOSS);
                    results.compare(family, "losses", golden, at + "kl_loss", new double[] {kl}, LOSS);
                    results.compare(family, "losses", golden, at + "loss", new double[] {policy + beta * kl}, LOSS);
                }
                String of = "step" + update + ".";
                c.model.tensors(trained.gradients(), gpu.stream).forEach((name, values) -> results.compare(family, "accumulated gradients", golden, of + "grad." + PEFT + name, values, GRADIENT));
                gpu.optim.gradNorm(gpu.stream, trained.gradients().address(), norm, scratch, size);
                results.compare(family, "gradient norm", golden, of + "grad_norm", gpu.doubles(norm, 1), Tolerance.relative(1e-3));
                gpu.optim.adamW(gpu.stream, trained.values().address(), trained.gradients().address(), m, v, 0, 0, norm, s.get("max_grad_norm").asDouble(), s.get("lr").asDouble(), 0.9, 0.999, 1e-8,
                        s.get("weight_decay").asDouble(), 0, update + 1, size);
                c.model.parametersChanged(gpu.stream);
                Map<String, float[]> gradients = c.model.tensors(trained.gradients(), gpu.stream);
                c.model.tensors(trained.values(), gpu.stream).forEach((name, values) -> afterStep(golden, of + "after." + PEFT + name, values, gradients.get(name),
                        undecided.computeIfAbsent(name, _ -> new boolean[values.length]), s.get("lr").asDouble()));
            }
        }
    }

    /**
     * AdamW's first step is lr times the sign of the gradient: where a gradient is nearly nothing beside its tensor's largest, rounding decides, and values may lie two
     * steps apart from then on, as the data's tolerance says. Everything else is held to 2e-5.
     *
     * @param undecided where that was so in an update before; marked here
     */
    private void afterStep(Golden golden, String tensor, float[] values, float[] gradient, boolean[] undecided, double lr) {
        double[] reference = golden.f64(tensor), ours = Golden.widen(values);
        float most = 0;
        for (float g : gradient) most = Math.max(most, Math.abs(g));
        for (int i = 0; i < ours.length; i++) {
            undecided[i] |= Math.abs(gradient[i]) <= 1e-3f * most;
            if (undecided[i] && Math.abs(ours[i] - reference[i]) <= 4.1 * lr) ours[i] = reference[i];
        }
        results.compare(family, "weights after a step", golden, tensor, ours, Tolerance.absolute(2e-5));
    }

    private static int step(StepTable table, float timestep) {
        for (int i = 0; i < table.steps(); i++) if (Math.abs(1000 * table.schedule().sigma(i) - timestep) < 1e-2) return i;
        throw new IllegalArgumentException("timestep " + timestep + " is none of the schedule");
    }

    private static double[] column(double[] rows, int statistic) {
        var out = new double[rows.length / GrpoKernels.STATS];
        Arrays.setAll(out, b -> rows[b * GrpoKernels.STATS + statistic]);
        return out;
    }

    private static double mean(double[] values) { return Arrays.stream(values).average().orElse(Double.NaN); }

    private float[] unpackedOne(float[] all, int at, int n) { return reorder(Arrays.copyOfRange(all, at * n, (at + 1) * n), false, 1); }

    private float[] unpacked(float[] tokens) { return reorder(tokens, false, batch); }

    private float[] packed(float[] latents) { return reorder(latents, true, batch); }

    /** FLUX's tokens [batch, tokens, (channel, row, column)] to latents [batch, channel, row, column] and back; SD3's latents as they are. */
    private float[] reorder(float[] from, boolean pack, int count) {
        if (!packed) return from;
        var to = new float[from.length];
        for (int i = 0, b = 0; b < count; b++)
            for (int y = 0; y < height / 2; y++)
                for (int x = 0; x < width / 2; x++)
                    for (int ch = 0; ch < channels; ch++)
                        for (int k = 0; k < 4; k++, i++) {
                            int at = ((b * channels + ch) * height + 2 * y + k / 2) * width + 2 * x + k % 2;
                            if (pack) to[i] = from[at];
                            else to[at] = from[i];
                        }
        return to;
    }
}
