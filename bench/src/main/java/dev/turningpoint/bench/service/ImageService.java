package dev.turningpoint.bench.service;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dev.turningpoint.embed.CallException;
import dev.turningpoint.embed.DeadlineException;
import dev.turningpoint.embed.RefusedException;
import dev.turningpoint.embed.SamplerCall;
import dev.turningpoint.embed.SamplerSession;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.image.RgbImage;
import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.text.GlyphAlphabet;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * {@code GET /image?word=CAT&seed=42}: a PNG of the word, as {@code ./turningpoint sample} draws it first under that seed. A virtual thread serves each request, with
 * one of a fixed number of lanes: a call and its memory.
 *
 * <p>400: no such word or seed. 503: too much to do, come again. 504: not done in time. 500: the session failed or is closed.
 */
public final class ImageService implements AutoCloseable {
    static {
        System.setProperty("sun.net.httpserver.nodelay", "true");   // else a response waits 40 ms for an acknowledgement
    }

    /** What one request at a time uses, and the next one after it. */
    private static final class Lane {
        final SamplerCall call;
        final MemorySegment prompt, pixels;
        final ImageBatch image;

        Lane(SamplerSession session, GlyphConfig shape, Arena arena, Duration deadline) {
            call = session.newCall();
            call.timeout(deadline);
            prompt = arena.allocate(ValueLayout.JAVA_INT, session.promptTokens());
            pixels = arena.allocate(ValueLayout.JAVA_FLOAT, session.imageFloats());
            image = new ImageBatch(pixels, 1, shape.height(), shape.width());
        }
    }

    private record Answer(int status, String type, byte[] body, long loraVersion) {
        static Answer text(int status, String message) {
            return new Answer(status, "text/plain; charset=utf-8", (message + "\n").getBytes(StandardCharsets.UTF_8), 0);
        }
    }

    private final Arena arena = Arena.ofShared();
    private final ArrayBlockingQueue<Lane> lanes;
    private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
    private final HttpServer server;

    /**
     * Serves on this machine's loopback address until it is closed.
     *
     * @param session  samples; stays the caller's
     * @param shape    of its images
     * @param port     0 for any that is free
     * @param deadline of every request
     */
    public ImageService(SamplerSession session, GlyphConfig shape, int port, Duration deadline) throws IOException {
        int count = session.queueCapacity() + 2 * session.maxBatch();
        lanes = new ArrayBlockingQueue<>(count);
        for (int i = 0; i < count; i++) lanes.add(new Lane(session, shape, arena, deadline));
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
        server.createContext("/image", this::handle);
        server.setExecutor(threads);
        server.start();
    }

    /** Where it listens. */
    public URI address() {
        return URI.create("http://" + server.getAddress().getAddress().getHostAddress() + ":" + server.getAddress().getPort());
    }

    private void handle(HttpExchange exchange) throws IOException {
        try (exchange) {
            Answer answer = answer(exchange.getRequestURI().getQuery());
            exchange.getResponseHeaders().set("Content-Type", answer.type);
            exchange.getResponseHeaders().set("LoRA-Version", Long.toString(answer.loraVersion));
            if (answer.status == 503) exchange.getResponseHeaders().set("Retry-After", "1");
            exchange.sendResponseHeaders(answer.status, answer.body.length);
            exchange.getResponseBody().write(answer.body);
        }
    }

    private Answer answer(String query) {
        Lane lane = lanes.poll();
        if (lane == null) return Answer.text(503, "too many requests at once");
        try {
            int[] tokens = GlyphAlphabet.encode(parameter(query, "word"), (int) lane.prompt.byteSize() / Integer.BYTES);
            long seed = Long.parseLong(parameter(query, "seed"));
            MemorySegment.copy(tokens, 0, lane.prompt, ValueLayout.JAVA_INT, 0, tokens.length);
            lane.call.submit(lane.prompt, seed, 0, lane.pixels);
            long version = lane.call.await();
            return new Answer(200, "image/png", RgbImage.of(lane.image, 0).png(), version);
        } catch (IllegalArgumentException e) {
            return Answer.text(400, e.getMessage());
        } catch (RefusedException e) {
            return Answer.text(503, e.getMessage());
        } catch (DeadlineException e) {
            return Answer.text(504, e.getMessage());
        } catch (CallException e) {
            return Answer.text(500, e.getMessage());
        } finally {
            lanes.add(lane);
        }
    }

    private static String parameter(String query, String name) {
        for (String part : query == null ? new String[0] : query.split("&"))
            if (part.startsWith(name + "=")) return part.substring(name.length() + 1);
        throw new IllegalArgumentException("no '" + name + "' in the request: /image?word=CAT&seed=42");
    }

    /** Ends when the requests at hand are answered. */
    @Override
    public void close() {
        server.stop(1);
        threads.close();
        arena.close();
    }
}
