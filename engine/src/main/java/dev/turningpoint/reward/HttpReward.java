package dev.turningpoint.reward;

import dev.turningpoint.image.RgbImage;
import java.io.IOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.channels.UnresolvedAddressException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import tools.jackson.core.JacksonException;
import tools.jackson.core.json.JsonReadFeature;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * Scores that a server gives. A request is
 *
 * <pre>{@code
 * POST <url>   Content-Type: application/json
 * {"images": ["<base64 of a PNG file>", ...], "prompts": ["a cat", ...], "metadata": [{...}, ...]}
 * }</pre>
 *
 * with one entry an image in each list; an answer has status 200 and is {@code {"scores": [0.71, ...]}}, one number an image, null where the reward does not apply.
 *
 * <p>A server that does not answer, cuts its answer short, is overloaded (429) or fails (5xx) is asked again, after a pause that doubles each time: training waits,
 * a line says for whom, and goes on when it answers. Anything else that is not exactly the answer above is an error that names the server and what came; no part of
 * it is used.
 */
public final class HttpReward implements Reward {
    private static final long LARGEST_ANSWER = 64L << 20;
    private static final long NOTICE_EVERY_NANOS = TimeUnit.SECONDS.toNanos(10);
    private static final int SHOWN = 120;
    private static final JsonMapper JSON = JsonMapper.builder().enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS).enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build();

    /** Kind {@code http}. */
    public static final class Factory implements RewardFactory {
        @Override
        public String kind() {
            return "http";
        }

        /**
         * Options: {@code url}; {@code batch}, images of a request (32); {@code requests} at the same time (2); {@code timeout_seconds} for a whole answer (120);
         * {@code retry_seconds}, the first pause (0.5), and {@code retry_longest_seconds} (30); {@code field} of the answer with the scores ({@code scores}).
         */
        @Override
        public Reward create(RewardSettings settings) {
            URI url;
            try {
                url = URI.create(settings.text("url", "the address of the server, as in http://localhost:8000/score"));
            } catch (IllegalArgumentException e) {
                throw settings.wrong("url", "is no address: " + e.getMessage());
            }
            if (url.getHost() == null || !List.of("http", "https").contains(url.getScheme())) throw settings.wrong("url", "must begin with http:// or https:// and a host, is " + url);
            return new HttpReward(url, settings.has("field") ? settings.text("field", "the name of the scores in the answer") : "scores", settings.whole("batch", 32, 1, 10_000),
                    settings.whole("requests", 2, 1, 1000), seconds(settings, "timeout_seconds", 120), seconds(settings, "retry_seconds", 0.5),
                    seconds(settings, "retry_longest_seconds", 30), settings.notice());
        }

        @Override
        public List<String> transport() {
            return List.of("url", "batch", "requests", "timeout_seconds", "retry_seconds", "retry_longest_seconds");
        }

        private static Duration seconds(RewardSettings settings, String option, double fallback) {
            return Duration.ofNanos((long) (settings.number(option, fallback, 0.001, 86_400) * 1e9));
        }
    }

    /** A server that may answer later. */
    private static final class Unavailable extends Exception {
        Unavailable(String message) {
            super(message);
        }
    }

    private final URI url;
    private final String field;
    private final int batch;
    private final int requests;
    private final Duration timeout;
    private final Duration firstPause;
    private final Duration longestPause;
    private final Consumer<String> notice;
    private final HttpClient client;
    private long noticed;          // nanoseconds of the last notice; 0: the server answers, as far as is known
    private long unavailableSince;

    private HttpReward(URI url, String field, int batch, int requests, Duration timeout, Duration firstPause, Duration longestPause, Consumer<String> notice) {
        this.url = url;
        this.field = field;
        this.batch = batch;
        this.requests = requests;
        this.timeout = timeout;
        this.firstPause = firstPause;
        this.longestPause = longestPause;
        this.notice = notice;
        client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(timeout).followRedirects(HttpClient.Redirect.NEVER).build();
    }

    @Override
    public int pieceSize() {
        return batch;
    }

    @Override
    public int waitingCalls() {
        return requests;
    }

    @Override
    public float[] score(RewardBatch batch) throws InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(url).header("Content-Type", "application/json").header("Accept", "application/json")
                .POST(HttpRequest.BodyPublishers.ofByteArray(body(batch))).build();
        Duration pause = firstPause;
        while (true) {
            try {
                float[] scores = scores(send(request), batch.count());
                answered();
                return scores;
            } catch (Unavailable e) {
                unavailable(e.getMessage(), pause);
            }
            Thread.sleep(pause);
            pause = pause.multipliedBy(2).compareTo(longestPause) < 0 ? pause.multipliedBy(2) : longestPause;
        }
    }

    private static byte[] body(RewardBatch batch) {
        ObjectNode body = JSON.createObjectNode();
        ArrayNode images = body.putArray("images"), prompts = body.putArray("prompts"), metadata = body.putArray("metadata");
        for (int i = 0; i < batch.count(); i++) {
            images.add(Base64.getEncoder().encodeToString(RgbImage.of(batch.images(), i).png()));
            prompts.add(batch.prompts().get(i).text());
            metadata.add(JSON.valueToTree(batch.prompts().get(i).metadata()));
        }
        return JSON.writeValueAsBytes(body);
    }

    /** The body of an answer of status 200. */
    private byte[] send(HttpRequest request) throws InterruptedException, Unavailable {
        CompletableFuture<HttpResponse<byte[]>> answer = client.sendAsync(request, BodyHandlers.limiting(BodyHandlers.ofByteArray(), LARGEST_ANSWER));
        HttpResponse<byte[]> response;
        try {
            response = answer.get(timeout.toNanos(), TimeUnit.NANOSECONDS);   // the body too, which a request's own timeout leaves out
        } catch (TimeoutException e) {
            answer.cancel(true);
            throw new Unavailable("did not answer within " + seconds(timeout));
        } catch (InterruptedException e) {
            answer.cancel(true);
            throw e;
        } catch (ExecutionException e) {
            Throwable cause = e.getCause();
            for (Throwable c = cause; c != null; c = c.getCause()) {
                if (c instanceof UnresolvedAddressException) throw new Unavailable("has a host that nobody knows");
                if (c instanceof ConnectException) throw new Unavailable("cannot be reached" + (c.getMessage() == null ? "" : ": " + c.getMessage()));
            }
            if (cause instanceof IOException) throw new Unavailable("broke off: " + cause.getMessage());
            throw wrong("could not be asked: " + cause);
        }
        int status = response.statusCode();
        if (status == 200) return response.body();
        String said = "answered with status " + status + ": " + shown(response.body());
        if (status >= 500 || status == 429 || status == 408) throw new Unavailable(said);
        throw wrong(said);
    }

    private float[] scores(byte[] answer, int count) {
        JsonNode json;
        try {
            json = JSON.readTree(answer);
        } catch (JacksonException e) {
            throw wrong("answered with something that is no JSON: " + shown(answer));
        }
        JsonNode list = json.get(field);
        if (list == null || !list.isArray()) throw wrong("answered without a list '" + field + "': " + shown(answer));
        if (list.size() != count) throw wrong("answered with " + list.size() + " scores for " + count + " images: " + shown(answer));
        var scores = new float[count];
        for (int i = 0; i < count; i++) {
            JsonNode score = list.get(i);
            if (!score.isNull() && !score.isNumber()) throw wrong("answered with a score " + i + " that is no number: " + shown(answer));
            scores[i] = score.isNull() ? Float.NaN : (float) Double.parseDouble(score.asString());
            if (!score.isNull() && !Float.isFinite(scores[i])) throw wrong("answered with a score " + i + " that is " + score.asString() + ": " + shown(answer));
        }
        return scores;
    }

    private RewardException wrong(String what) {
        return new RewardException("the reward server " + url + " " + what);
    }

    /** The beginning of an answer, on one line. */
    private static String shown(byte[] answer) {
        if (answer.length == 0) return "nothing";
        String text = new String(answer, 0, Math.min(answer.length, 4 * SHOWN), StandardCharsets.UTF_8).replaceAll("[\\s\\p{Cntrl}]+", " ").strip();
        return "<" + (text.length() > SHOWN ? text.substring(0, SHOWN) + "..." : text) + ">";
    }

    private static String seconds(Duration duration) {
        return String.format(Locale.ROOT, "%.3g s", duration.toNanos() / 1e9);
    }

    private synchronized void unavailable(String what, Duration pause) {
        long now = System.nanoTime();
        if (noticed == 0) unavailableSince = now;
        else if (now - noticed < NOTICE_EVERY_NANOS) return;
        noticed = now;
        notice.accept("the reward server " + url + " " + what + "; training waits and asks again in " + seconds(pause));
    }

    private synchronized void answered() {
        if (noticed == 0) return;
        noticed = 0;
        notice.accept("the reward server " + url + " answers again, after " + seconds(Duration.ofNanos(System.nanoTime() - unavailableSince)));
    }

    @Override
    public void close() {
        client.shutdownNow();
        client.close();
    }
}
