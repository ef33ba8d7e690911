package dev.turningpoint.bench.service;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpServer;
import dev.turningpoint.embed.SamplerOptions;
import dev.turningpoint.embed.TurningPoint;
import dev.turningpoint.model.GlyphConfig;
import java.io.ByteArrayInputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import picocli.CommandLine;

/** The service answers, and the load counts every answer. */
@Timeout(120)
class ImageServiceTest {

    @Test
    void aRequestGetsItsPictureOrIsToldWhatIsWrong() throws Exception {
        try (var engine = TurningPoint.open(); var session = engine.sampler(SamplerOptions.glyph().withMaxBatch(2));
             var service = new ImageService(session, GlyphConfig.DEFAULT, 0, Duration.ofSeconds(60)); var client = HttpClient.newHttpClient()) {
            HttpResponse<byte[]> picture = get(client, service, "word=CAT&seed=42");
            assertEquals(200, picture.statusCode());
            assertEquals("0", picture.headers().firstValue("LoRA-Version").orElseThrow());
            var image = ImageIO.read(new ByteArrayInputStream(picture.body()));
            assertEquals(GlyphConfig.DEFAULT.width(), image.getWidth());
            assertEquals(GlyphConfig.DEFAULT.height(), image.getHeight());
            assertArrayEquals(picture.body(), get(client, service, "seed=42&word=cat").body(), "the same word and seed");
            assertEquals(400, get(client, service, "word=COW&seed=42").statusCode());        // no O in the alphabet
            assertEquals(400, get(client, service, "word=CAT&seed=x").statusCode());
            assertEquals(400, get(client, service, "word=CAT").statusCode());
            session.close();
            assertEquals(500, get(client, service, "word=CAT&seed=42").statusCode());
        }
    }

    private static HttpResponse<byte[]> get(HttpClient client, ImageService service, String query) throws Exception {
        return client.send(HttpRequest.newBuilder(service.address().resolve("/image?" + query)).build(), HttpResponse.BodyHandlers.ofByteArray());
    }

    /** A service that stands still for 0.8 of 2 seconds at 200 requests a second: 4 in 10 were due meanwhile, and those due in its first 0.6 seconds waited for more than 0.2. */
    @Test
    void whatWasDueDuringAStandstillIsChargedForIt() throws Exception {
        long stands = System.nanoTime() + 500_000_000;
        var server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/image", exchange -> {      // on the server's one thread
            long now = System.nanoTime() - stands;
            if (now >= 0 && now < 800_000_000) LockSupport.parkNanos(800_000_000 - now);
            exchange.sendResponseHeaders(200, -1);
            exchange.close();
        });
        server.start();
        try (var client = HttpClient.newHttpClient()) {
            var outcome = new OpenLoop(URI.create("http://127.0.0.1:" + server.getAddress().getPort()), client).run(200, false, Duration.ofSeconds(2), 3);
            assertTrue(outcome.sent() > 340 && outcome.sent() < 460, "requests of seed 3: " + outcome.sent());
            assertEquals(Map.of(200, outcome.sent()), outcome.answers());
            double late = 100 - outcome.micros().getPercentileAtOrBelowValue(200_000);
            assertTrue(late > 20, late + " % of the requests waited for more than 0.2 seconds");
        } finally {
            server.stop(0);
        }
    }

    @Test
    void aRequestWithoutAnAnswerIsCounted() throws Exception {
        try (var client = HttpClient.newHttpClient()) {
            var outcome = new OpenLoop(URI.create("http://127.0.0.1:1"), client).run(100, true, Duration.ofMillis(300), 3);
            assertTrue(outcome.sent() > 10, "requests of seed 3: " + outcome.sent());
            assertEquals(Map.of(-1, outcome.sent()), outcome.answers());
            assertEquals(0, outcome.micros().getTotalCount());
        }
    }

    @Test
    void aShortLoadLosesNothing() {
        var out = new StringWriter();
        var line = new CommandLine(new ServiceLoad()).setOut(new PrintWriter(out, true));
        int status = line.execute("--seconds", "2", "--probe", "1", "--load", "0.3", "--batch", "4", "--allocate", "50");
        System.out.print(out);
        assertEquals(0, status, out::toString);
        assertTrue(out.toString().matches("(?s).*requests [1-9]\\d*, answers by status \\{200=\\d+\\}.*left after closing: 0 bytes on the device, 0 bytes of host memory, 0 threads\\s*"),
                out::toString);
    }
}
