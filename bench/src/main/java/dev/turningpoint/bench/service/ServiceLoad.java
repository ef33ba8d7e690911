package dev.turningpoint.bench.service;

import dev.turningpoint.embed.SamplerOptions;
import dev.turningpoint.embed.TurningPoint;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.model.GlyphConfig;
import java.io.PrintWriter;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.net.http.HttpClient;
import java.time.Duration;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import jdk.jfr.consumer.RecordingStream;
import org.HdrHistogram.ConcurrentHistogram;
import org.HdrHistogram.Histogram;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/**
 * The image service under load in its own JVM: measures how much it can do, then asks for a share of that in an open loop and reports latencies, the longest pause and what is left behind.
 * The exit status is 1 if a request was lost, answered otherwise than the load allows, or something was not given back.
 */
@Command(name = "service-load", mixinStandardHelpOptions = true, description = "Serves images of words over HTTP and measures latencies under open-loop load.")
public final class ServiceLoad implements Callable<Integer> {
    @Spec private CommandSpec spec;

    @Option(names = "--seconds", defaultValue = "30", description = "How long to measure; default ${DEFAULT-VALUE}.")
    private int seconds;

    @Option(names = "--probe", defaultValue = "10", description = "Seconds to measure the capacity; default ${DEFAULT-VALUE}.")
    private int probe;

    @Option(names = "--load", defaultValue = "0.7", description = "Share of the capacity to ask for; default ${DEFAULT-VALUE}.")
    private double load;

    @Option(names = "--allocate", defaultValue = "100", description = "Megabytes a second that another thread allocates on the Java heap; default ${DEFAULT-VALUE}.")
    private int allocate;

    @Option(names = "--batch", defaultValue = "8", description = "Most images of a batch; default ${DEFAULT-VALUE}.")
    private int batch;

    @Option(names = "--even", description = "Requests evenly apart; else at random times (Poisson), where most of a latency is the wait for requests before it.")
    private boolean even;

    @Option(names = "--seed", defaultValue = "1", description = "Of the times of the requests; default ${DEFAULT-VALUE}.")
    private long seed;

    @Override
    public Integer call() throws Exception {
        long hostBytes = HostMemory.outstanding();
        String report;
        boolean good;
        try (var engine = TurningPoint.open()) {
            OpenLoop.Outcome outcome;
            var sampled = new ConcurrentHistogram(600_000_000, 3);
            double capacity;
            long pause, collections, collecting;
            try (var session = engine.sampler(SamplerOptions.glyph().withMaxBatch(batch)); var events = new RecordingStream();
                 var service = new ImageService(session, GlyphConfig.DEFAULT, 0, Duration.ofSeconds(60)); var requests = Executors.newVirtualThreadPerTaskExecutor();
                 var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).executor(requests).build()) {
                session.warmUp();
                var loop = new OpenLoop(service.address(), client);
                capacity = loop.capacity(2 * batch, Duration.ofSeconds(probe));
                events.enable("dev.turningpoint.Sampled");
                events.onEvent("dev.turningpoint.Sampled", event -> sampled.recordValue(event.getDuration().toNanos() / 1000));
                events.startAsync();
                long collectionsBefore = collections(), collectingBefore = collectingMillis();
                try (var disturbance = new Disturbance(allocate)) {
                    outcome = loop.run(capacity * load, even, Duration.ofSeconds(seconds), seed);
                    pause = disturbance.longestPause();
                }
                collections = collections() - collectionsBefore;
                collecting = collectingMillis() - collectingBefore;
                events.stop();
            }
            long deviceBytes = engine.deviceBytes(), host = HostMemory.outstanding() - hostBytes;
            long threads = Thread.getAllStackTraces().keySet().stream().filter(t -> t.getName().startsWith("turningpoint-")).count();
            good = outcome.answered() == outcome.sent() && outcome.answers().keySet().stream().allMatch(status -> status == 200) && deviceBytes == 0 && host == 0 && threads == 0;
            report = String.format(Locale.ROOT, """
                    %s, batches of at most %d
                    capacity %.1f requests/s; asked for %.0f %% of it for %d s, %s, beside %d MB/s of allocation on the Java heap
                    requests %d, answers by status %s
                    latency from due time, ms:  %s
                    batch on the device, ms:    %s
                    p99.9 latency / p50 of a batch: %.2f
                    longest pause %.1f ms; %d collections of %d ms in all
                    left after closing: %d bytes on the device, %d bytes of host memory, %d threads
                    """, engine.device(), batch, capacity, 100 * load, seconds, even ? "evenly" : "at random times of seed " + seed, allocate, outcome.sent(), outcome.answers(), line(outcome.micros()), line(sampled),
                    outcome.micros().getValueAtPercentile(99.9) / (double) sampled.getValueAtPercentile(50), pause / 1e6, collections, collecting, deviceBytes, host, threads);
        }
        PrintWriter out = spec.commandLine().getOut();
        out.print(report);
        out.flush();
        return good ? 0 : 1;
    }

    private static String line(Histogram micros) {
        return String.format(Locale.ROOT, "p50 %.2f, p90 %.2f, p99 %.2f, p99.9 %.2f, longest %.2f (%d)", micros.getValueAtPercentile(50) / 1e3, micros.getValueAtPercentile(90) / 1e3,
                micros.getValueAtPercentile(99) / 1e3, micros.getValueAtPercentile(99.9) / 1e3, micros.getMaxValue() / 1e3, micros.getTotalCount());
    }

    private static long collections() {
        return ManagementFactory.getGarbageCollectorMXBeans().stream().mapToLong(GarbageCollectorMXBean::getCollectionCount).sum();
    }

    private static long collectingMillis() {
        return ManagementFactory.getGarbageCollectorMXBeans().stream().mapToLong(GarbageCollectorMXBean::getCollectionTime).sum();
    }

    public static void main(String[] args) {
        System.exit(new CommandLine(new ServiceLoad()).execute(args));
    }
}
