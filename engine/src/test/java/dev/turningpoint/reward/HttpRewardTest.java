package dev.turningpoint.reward;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dev.turningpoint.data.Prompt;
import dev.turningpoint.image.ImageBatch;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Against the JDK's own HTTP server, which answers late, wrongly, in halves or not at all. */
@Timeout(60)
class HttpRewardTest {
    private interface Handler {
        void handle(HttpExchange exchange, JsonNode body) throws Exception;
    }

    private final List<String> notices = new CopyOnWriteArrayList<>();
    private final AtomicInteger asked = new AtomicInteger();
    private final ExecutorService serverThreads = Executors.newCachedThreadPool();
    private HttpServer server;
    private volatile Handler handler;
    private Arena arena;

    @BeforeEach
    void start() throws IOException {
        arena = Arena.ofShared();
        server = serve(0);
    }

    private HttpServer serve(int port) throws IOException {
        var s = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 50);
        s.setExecutor(serverThreads);
        s.createContext("/score", exchange -> {
            asked.incrementAndGet();
            JsonNode body = new JsonMapper().readTree(exchange.getRequestBody().readAllBytes());
            try {
                handler.handle(exchange, body);
            } catch (IOException e) {
                // the client is gone
            } catch (Exception e) {
                throw new IOException(e);
            } finally {
                exchange.close();
            }
        });
        s.start();
        return s;
    }

    @AfterEach
    void stop() {
        server.stop(0);
        serverThreads.shutdownNow();
        arena.close();
    }

    private String url() {
        return "http://localhost:" + server.getAddress().getPort() + "/score";
    }

    private RewardMix mix(boolean partial, String... more) {
        var options = new HashMap<>(Map.of("url", url(), "retry_seconds", "0.02", "retry_longest_seconds", "0.1"));
        for (String m : more) options.put(m.split("=")[0], m.split("=")[1]);
        Reward reward = new RewardSettings("reward.terms.http.options", options, notices::add).create("http");
        return new RewardMix(List.of(new RewardMix.Term("http", reward, true, 1, RewardMix.Normalize.NONE, -1e9, 1e9, partial)), 1, false);
    }

    /** Image i is i / 10 everywhere, its prompt "prompt i". */
    private RewardBatch batch(int count) {
        var images = ImageBatch.allocate(arena, count, 3, 4, 5);
        var prompts = new ArrayList<Prompt>();
        for (int i = 0; i < count; i++) {
            for (int c = 0; c < 3; c++) for (int p = 0; p < 20; p++) images.set(i, c, p / 5, p % 5, (10 * i + c) / 127.5f - 1);
            prompts.add(Prompt.of("prompt " + i, Map.of("number", i)));
        }
        return new RewardBatch(images, prompts);
    }

    private static void answer(HttpExchange exchange, int status, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(status, bytes.length == 0 ? -1 : bytes.length);
        if (bytes.length > 0) exchange.getResponseBody().write(bytes);
    }

    /** Scores that only who has seen image, prompt and metadata can give. */
    private static void answerRightly(HttpExchange exchange, JsonNode body) throws IOException {
        var scores = new ArrayList<String>();
        for (int i = 0; i < body.get("images").size(); i++) {
            var image = ImageIO.read(new ByteArrayInputStream(Base64.getDecoder().decode(body.get("images").get(i).asString())));
            assertEquals(5, image.getWidth());
            assertEquals(4, image.getHeight());
            int number = Integer.parseInt(body.get("prompts").get(i).asString().substring("prompt ".length()));
            assertEquals(number, body.get("metadata").get(i).get("number").asInt());
            assertEquals(0xff000000 | 10 * number << 16 | 10 * number + 1 << 8 | 10 * number + 2, image.getRGB(3, 2));
            scores.add(Double.toString(number + 0.5));
        }
        answer(exchange, 200, "{\"scores\": [" + String.join(", ", scores) + "], \"more\": 1}");
    }

    @Test
    void imagesPromptsAndMetadataArriveAndScoresComeBackInOrder() {
        var sizes = new CopyOnWriteArrayList<Integer>();
        handler = (exchange, body) -> {
            sizes.add(body.get("images").size());
            Thread.sleep(5 * (7 - body.get("images").size()));   // the first to be asked is not the first to answer
            answerRightly(exchange, body);
        };
        try (var mix = mix(false, "batch=4", "requests=3")) {
            assertArrayEquals(new float[] {0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f, 7.5f, 8.5f, 9.5f}, mix.score(0, batch(10)));
        }
        assertEquals(3, sizes.size(), "10 images in batches of at most 4");
        assertEquals(List.of(), notices);
    }

    @Test
    void slowAnswersAreWaitedForWithinTheTimeoutAndAskedAgainAfterIt() {
        handler = (exchange, body) -> {
            if (asked.get() == 1) Thread.sleep(5000);
            else Thread.sleep(100);
            answerRightly(exchange, body);
        };
        try (var mix = mix(false, "timeout_seconds=1")) {
            assertArrayEquals(new float[] {0.5f, 1.5f}, mix.score(0, batch(2)));
        }
        assertEquals(2, asked.get());
        assertEquals("the reward server " + url() + " did not answer within 1.00 s; training waits and asks again in 0.0200 s", notices.getFirst());
        assertTrue(notices.getLast().startsWith("the reward server " + url() + " answers again, after "), notices.toString());
    }

    /** Headers at once, the body never: a timeout of the request alone would wait for ever. */
    @Test
    void aBodyThatNeverComesIsATimeoutToo() {
        handler = (exchange, body) -> {
            if (asked.get() > 1) {
                answerRightly(exchange, body);
                return;
            }
            exchange.sendResponseHeaders(200, 100);
            exchange.getResponseBody().write("{\"scores\"".getBytes(StandardCharsets.UTF_8));
            exchange.getResponseBody().flush();
            Thread.sleep(5000);
        };
        try (var mix = mix(false, "timeout_seconds=0.5")) {
            assertArrayEquals(new float[] {0.5f}, mix.score(0, batch(1)));
        }
        assertEquals(2, asked.get());
    }

    @ParameterizedTest
    @CsvSource({"500", "502", "503", "429", "408"})
    void anOverloadedServerIsAskedAgain(int status) {
        handler = (exchange, body) -> {
            if (asked.get() <= 3) answer(exchange, status, "busy\n<b>later</b>");
            else answerRightly(exchange, body);
        };
        try (var mix = mix(false)) {
            assertArrayEquals(new float[] {0.5f, 1.5f, 2.5f}, mix.score(0, batch(3)));
        }
        assertEquals(4, asked.get());
        assertTrue(notices.getFirst().contains("answered with status " + status + ": <busy <b>later</b>>; training waits"), notices.toString());
    }

    /** The connection is cut in the middle of the body, with its length announced and chunked. */
    @ParameterizedTest
    @CsvSource({"1000", "0"})
    void halfAnAnswerIsNotUsed(long length) {
        // HttpServer ends a chunked body properly when an exchange is closed, so a socket of our own cuts it.
        try (var cutting = new CuttingServer(length)) {
            var options = Map.of("url", cutting.url(), "retry_seconds", "0.02");
            try (var mix = new RewardMix(List.of(new RewardMix.Term("http", new RewardSettings("k", options, notices::add).create("http"))), 1, false)) {
                assertArrayEquals(new float[] {7, 8}, mix.score(0, batch(2)));
            }
            assertEquals(3, cutting.asked.get());
            assertTrue(notices.getFirst().startsWith("the reward server " + cutting.url() + " broke off: "), notices.toString());
        }
    }

    /** Cuts its first two answers in the middle, then answers 7, 8. */
    private static final class CuttingServer implements AutoCloseable {
        final AtomicInteger asked = new AtomicInteger();
        private final ServerSocket socket;
        private final Thread thread;

        CuttingServer(long length) {
            try {
                socket = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
            } catch (IOException e) {
                throw new AssertionError(e);
            }
            thread = Thread.ofPlatform().start(() -> {
                while (!socket.isClosed()) {
                    try (var client = socket.accept()) {
                        readRequest(client.getInputStream());
                        String whole = "{\"scores\": [7, 8]}", part = whole.substring(0, 15);
                        boolean cut = asked.incrementAndGet() <= 2;
                        String head = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
                        if (!cut) head += "Content-Length: " + whole.length() + "\r\n\r\n" + whole;
                        else if (length > 0) head += "Content-Length: " + whole.length() + "\r\n\r\n" + part;
                        else head += "Transfer-Encoding: chunked\r\n\r\n" + Integer.toHexString(part.length()) + "\r\n" + part + "\r\n";
                        client.getOutputStream().write(head.getBytes(StandardCharsets.US_ASCII));
                        client.getOutputStream().flush();
                    } catch (IOException e) {
                        // closed
                    }
                }
            });
        }

        private static void readRequest(java.io.InputStream in) throws IOException {
            var head = new StringBuilder();
            while (!head.toString().endsWith("\r\n\r\n")) head.append((char) in.read());
            int length = head.toString().lines().filter(l -> l.toLowerCase(java.util.Locale.ROOT).startsWith("content-length:")).mapToInt(l -> Integer.parseInt(l.substring(15).strip())).findFirst().orElse(0);
            in.readNBytes(length);
        }

        String url() {
            return "http://localhost:" + socket.getLocalPort() + "/score";
        }

        @Override
        public void close() {
            try {
                socket.close();
                thread.join();
            } catch (IOException | InterruptedException e) {
                throw new AssertionError(e);
            }
        }
    }

    /** Nothing of a wrong answer is used, and none is asked for again. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "200 | {\"scores\": [1, 2]}        | answered with 2 scores for 3 images: <{\"scores\": [1, 2]}>",
        "200 | {\"scores\": [1, 2, 3, 4]}  | answered with 4 scores for 3 images: <{\"scores\": [1, 2, 3, 4]}>",
        "200 | {\"scores\": [1, NaN, 3]}   | answered with a score 1 that is NaN: <{\"scores\": [1, NaN, 3]}>",
        "200 | {\"scores\": [1, 2, 1e99]}  | answered with a score 2 that is 1.0E99: <{\"scores\": [1, 2, 1e99]}>",
        "200 | {\"scores\": [1, \"2\", 3]} | answered with a score 1 that is no number: <{\"scores\": [1, \"2\", 3]}>",
        "200 | {\"scores\": [1, true, 3]}  | answered with a score 1 that is no number: <{\"scores\": [1, true, 3]}>",
        "200 | {\"scores\": 3}             | answered without a list 'scores': <{\"scores\": 3}>",
        "200 | {\"outputs\": [1, 2, 3]}    | answered without a list 'scores': <{\"outputs\": [1, 2, 3]}>",
        "200 | [1, 2, 3]                   | answered without a list 'scores': <[1, 2, 3]>",
        "200 | {\"scores\": [1, 2          | answered with something that is no JSON: <{\"scores\": [1, 2>",
        "200 | {\"scores\": [1, 2, 3]} 4   | answered with something that is no JSON: <{\"scores\": [1, 2, 3]} 4>",
        "200 | <html>Sign in</html>        | answered with something that is no JSON: <<html>Sign in</html>>",
        "404 | no such page                | answered with status 404: <no such page>",
        "400 | {\"error\": \"too large\"}  | answered with status 400: <{\"error\": \"too large\"}>",
        "204 | ''                          | answered with status 204: nothing",
    })
    void aWrongAnswerIsAnErrorThatShowsIt(int status, String text, String expected) {
        handler = (exchange, body) -> answer(exchange, status, text);
        try (var mix = mix(true)) {
            String message = assertThrows(RewardException.class, () -> mix.score(0, batch(3))).getMessage();
            assertEquals("the reward server " + url() + " " + expected, message);
        }
        assertEquals(1, asked.get());
        assertEquals(List.of(), notices);
    }

    @Test
    void nullMeansThatItDoesNotApply() {
        handler = (exchange, body) -> answer(exchange, 200, "{\"outputs\": [1, null, -10]}");
        try (var mix = mix(true, "field=outputs")) {
            assertArrayEquals(new float[] {1, Float.NaN, Float.NaN}, mix.score(0, batch(3)));
        }
        try (var mix = mix(false, "field=outputs")) {
            assertTrue(assertThrows(RewardException.class, () -> mix.score(0, batch(3))).getMessage().startsWith("reward http of image 1 is NaN"));
        }
    }

    /** The server is gone, comes back, and the run goes on. */
    @Test
    void aDeadServerIsWaitedFor() throws Exception {
        int port = server.getAddress().getPort();
        server.stop(0);
        handler = HttpRewardTest::answerRightly;
        try (var mix = mix(false)) {
            CompletableFuture<float[]> scores = mix.scoreAsync(0, batch(2));
            while (notices.isEmpty()) Thread.sleep(5);
            Thread.sleep(300);
            assertFalse(scores.isDone());
            assertTrue(notices.getFirst().startsWith("the reward server http://localhost:" + port + "/score cannot be reached"), notices.toString());
            assertEquals(1, notices.size(), "not a line for every try");
            server = serve(port);
            assertArrayEquals(new float[] {0.5f, 1.5f}, scores.get(30, TimeUnit.SECONDS));
            assertEquals(2, notices.size());
        }
    }

    @Test
    void waitingForADeadServerCanBeInterrupted() throws Exception {
        server.stop(0);
        try (var mix = mix(false, "retry_seconds=1000", "retry_longest_seconds=1000")) {
            CompletableFuture<float[]> scores = mix.scoreAsync(0, batch(2));
            while (notices.isEmpty()) Thread.sleep(5);
            mix.cancel();
            assertThrows(CancellationException.class, () -> RewardMix.await(scores));
        }
        handler = (exchange, body) -> Thread.sleep(20_000);
        server = serve(0);
        var mix = mix(false);
        CompletableFuture<float[]> scores = mix.scoreAsync(0, batch(2));
        while (asked.get() == 0) Thread.sleep(5);
        long began = System.nanoTime();
        mix.close();   // in the middle of a request
        assertTrue(System.nanoTime() - began < 5e9);
        assertThrows(CancellationException.class, () -> RewardMix.await(scores));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "url=ftp://host/ | url must begin with http:// or https:// and a host, is ftp://host/",
        "url=localhost:8000 | url must begin with http:// or https:// and a host, is localhost:8000",
        "batch=0 | batch must be 1.0 to 10000.0, is 0",
        "requests=1.5 | requests must be a whole number, is '1.5'",
        "timeout_seconds=soon | timeout_seconds must be a number, is 'soon'",
        "retries=3 | retries is no option of kind http; it has: batch, field, requests, retry_longest_seconds, retry_seconds, timeout_seconds, url",
    })
    void aWrongOptionIsNamed(String option, String expected) {
        assertEquals("reward.terms.http.options." + expected, assertThrows(RewardException.class, () -> mix(false, option)).getMessage());
        assertEquals("k.url is missing: the address of the server, as in http://localhost:8000/score",
                assertThrows(RewardException.class, () -> new RewardSettings("k", Map.of(), s -> {}).create("http")).getMessage());
    }
}
