package dev.turningpoint.bench.service;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.LockSupport;
import org.HdrHistogram.ConcurrentHistogram;
import org.HdrHistogram.Histogram;

/**
 * Requests at times that are known beforehand, drawn (Poisson) or evenly apart, whether or not earlier ones are answered, each on a virtual thread. A latency counts from the time the request was due, so
 * that a service that stands still is charged for every request it kept waiting: nothing is left out by coordination.
 */
final class OpenLoop {
    private static final String[] WORDS = {"CAT", "DRUM", "STAR", "K7QX", "A", "MAP", "WAVE"};
    private static final long LONGEST_MICROS = 600_000_000;

    private final URI service;
    private final HttpClient client;
    private final AtomicLong seeds = new AtomicLong();

    OpenLoop(URI service, HttpClient client) {
        this.service = service;
        this.client = client;
    }

    /**
     * What came of it.
     *
     * @param sent    requests
     * @param answers by HTTP status; -1 where none came
     * @param micros  latencies of what was answered with 200, in microseconds
     */
    record Outcome(long sent, Map<Integer, Long> answers, Histogram micros) {
        long answered() {
            return answers.values().stream().mapToLong(Long::longValue).sum();
        }
    }

    /** Requests a second that {@code callers} callers get answered, each asking again when it is answered. */
    double capacity(int callers, Duration time) {
        var served = new LongAdder();
        var end = new AtomicBoolean();
        long start = System.nanoTime();
        try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
            for (int i = 0; i < callers; i++)
                threads.submit(() -> {
                    while (!end.get()) if (ask() == 200) served.increment();
                });
            LockSupport.parkNanos(time.toNanos());
            end.set(true);
        }
        return served.sum() * 1e9 / (System.nanoTime() - start);
    }

    /**
     * Sends for so long at a mean rate; returns when everything is answered.
     *
     * @param even whether requests are evenly apart; else their times are drawn by the seed
     */
    Outcome run(double perSecond, boolean even, Duration time, long seed) {
        var random = new SplittableRandom(seed);
        var answers = new ConcurrentHashMap<Integer, LongAdder>();
        var micros = new ConcurrentHistogram(LONGEST_MICROS, 3);
        long sent = 0, due = System.nanoTime(), end = due + time.toNanos();
        try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
            while ((due += (long) ((even ? 1 : -Math.log(1 - random.nextDouble())) * 1e9 / perSecond)) < end) {
                for (long left; (left = due - System.nanoTime()) > 0; ) LockSupport.parkNanos(left);
                long since = due;
                threads.submit(() -> {
                    int status = ask();
                    if (status == 200) micros.recordValue(Math.min(LONGEST_MICROS, (System.nanoTime() - since) / 1000));
                    answers.computeIfAbsent(status, _ -> new LongAdder()).increment();
                });
                sent++;
            }
        }
        var counts = new TreeMap<Integer, Long>();
        answers.forEach((status, count) -> counts.put(status, count.sum()));
        return new Outcome(sent, counts, micros);
    }

    private int ask() {
        long seed = seeds.getAndIncrement();
        try {
            var request = HttpRequest.newBuilder(service.resolve("/image?word=" + WORDS[(int) (seed % WORDS.length)] + "&seed=" + seed)).build();
            return client.send(request, HttpResponse.BodyHandlers.ofByteArray()).statusCode();
        } catch (IOException e) {
            return -1;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return -1;
        }
    }
}
