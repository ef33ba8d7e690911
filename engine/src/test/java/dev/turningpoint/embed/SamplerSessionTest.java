package dev.turningpoint.embed;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.turningpoint.embed.TestSessions.Caller;
import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.GpuException;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.model.LoraConfig;
import dev.turningpoint.model.VelocityModel;
import dev.turningpoint.sampler.WavefrontSampler;
import dev.turningpoint.sampler.WavefrontSampler.Completions;
import dev.turningpoint.text.GlyphAlphabet;
import dev.turningpoint.train.RunConfig;
import dev.turningpoint.weights.WeightsException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.lang.reflect.Proxy;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.IntStream;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What the sampler session promises: bits, answers, memory. Seeds are fixed; which call meets which fate is up to the machine, the sums are not. */
@Timeout(300)
class SamplerSessionTest {
    private static final int STEPS = 3, LONG = 3000;

    @TempDir Path folder;
    private TestSessions sessions;
    private TurningPoint engine;
    private long hostBytes;

    @BeforeEach
    void open() {
        sessions = new TestSessions(folder);
        engine = TurningPoint.open();
        hostBytes = HostMemory.outstanding();
    }

    @AfterEach
    void nothingIsLeft() {
        engine.close();
        assertEquals(hostBytes, HostMemory.outstanding(), "bytes of host memory");
        assertTrue(Thread.getAllStackTraces().keySet().stream().noneMatch(t -> t.getName().startsWith("turningpoint-")), "a worker is left");
    }

    @Test
    void aCallHasTheBitsOfTheSampleCommand() {
        RunConfig config = RunConfig.glyph();
        List<String> words = List.of("CAT", "DRUM", "A", "ZEBRA", "K7QX");
        int tokens = config.model().tokens(), count = words.size();
        var conditions = new int[count * tokens];
        for (int i = 0; i < count; i++) System.arraycopy(GlyphAlphabet.encode(words.get(i), tokens), 0, conditions, i * tokens, tokens);
        float[][] expected = asSampleDraws(config, conditions, count);
        try (var session = engine.sampler(SamplerOptions.glyph().withMaxBatch(count).withMaxWait(Duration.ofSeconds(20)));
             var together = new Caller(session, count)) {
            together.submit(conditions, config.seed(), 0).call.await();
            var callers = new ArrayList<Caller>();
            for (int i = count - 1; i >= 0; i--)        // one batch of five calls, in another order
                callers.add(new Caller(session, 1).submit(Arrays.copyOfRange(conditions, i * tokens, (i + 1) * tokens), config.seed(), i));
            for (int i = 0; i < count; i++) {
                Caller one = callers.get(count - 1 - i);
                one.call.await();
                float[] alone = one.pixels.toArray(ValueLayout.JAVA_FLOAT), row = together.pixels.asSlice(4L * i * alone.length, 4L * alone.length).toArray(ValueLayout.JAVA_FLOAT);
                assertBits(expected[i], row, words.get(i) + " in one call of five");
                assertBits(expected[i], alone, words.get(i) + " in a batch of five calls");
                one.close();
            }
        }
    }

    private static float[][] asSampleDraws(RunConfig config, int[] conditions, int count) {
        try (var device = Device.open(); var stream = device.newStream(); var kernels = new SamplerKernels(device);
             var model = new GlyphModel(device, GlyphModel.Options.inference(config.model().glyph(), config.storage().type(), count));
             var sampler = new WavefrontSampler(device, kernels, model, config.evaluationSteps(), config.sampler().guidance(), count, Completions.NONE, DType.F32, 64);
             var arena = Arena.ofConfined()) {
            model.loadBundled(stream);
            sampler.run(stream, conditions, IntStream.range(0, count).toArray(), config.seed(), null, 0);
            int n = model.latentSize();
            MemorySegment images = arena.allocate(4L * count * n);
            stream.copyToHost(images, sampler.images());
            stream.synchronize();
            return IntStream.range(0, count).mapToObj(i -> images.asSlice(4L * i * n, 4L * n).toArray(ValueLayout.JAVA_FLOAT)).toArray(float[][]::new);
        }
    }

    @Test
    void inSteadyStateCallersAndWorkerAllocateNothing() {
        var threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        try (var session = engine.sampler(sessions.options(STEPS, null).withMaxWait(Duration.ZERO)); var caller = new Caller(session, 2)) {
            session.warmUp();
            caller.call.timeout(Duration.ofSeconds(60));
            caller.call.whenFull(WhenFull.WAIT);
            long worker = session.worker().threadId(), leastCaller = Long.MAX_VALUE, leastWorker = Long.MAX_VALUE;
            for (int round = 0; round < 200 && (leastCaller > 0 || leastWorker > 0); round++) {     // until the JVM has compiled the way
                long before = threads.getCurrentThreadAllocatedBytes(), workerBefore = threads.getThreadAllocatedBytes(worker);
                for (int i = 0; i < 100; i++) {
                    caller.call.submit(caller.prompts, i, 0, caller.pixels);
                    caller.call.await();
                }
                leastCaller = Math.min(leastCaller, threads.getCurrentThreadAllocatedBytes() - before);
                leastWorker = Math.min(leastWorker, threads.getThreadAllocatedBytes(worker) - workerBefore);
            }
            assertEquals(0, leastCaller, "bytes that the caller allocates in 100 calls");
            assertEquals(0, leastWorker, "bytes that the worker allocates in 100 calls");
        }
    }

    @Test
    void aDeadlineIsKeptWhileTheBatchIsOnTheDevice() {
        try (var session = engine.sampler(sessions.options(LONG, null).withMaxWait(Duration.ZERO)); var caller = new Caller(session, 1)) {
            session.warmUp();
            long start = System.nanoTime();
            caller.submit(TestSessions.prompts(1, 1), 1, 0).call.await();
            long whole = System.nanoTime() - start;
            caller.pixels.fill((byte) 7);
            caller.call.timeout(Duration.ofNanos(whole / 10));
            start = System.nanoTime();
            assertThrows(DeadlineException.class, caller.submit(TestSessions.prompts(1, 1), 1, 0).call::await);
            assertTrue(System.nanoTime() - start < whole / 2, "told after " + (System.nanoTime() - start) / 1000 + " of " + whole / 1000 + " microseconds");
            for (byte b : caller.pixels.toArray(ValueLayout.JAVA_BYTE)) assertEquals(7, b, "memory of a call that was not served");
            caller.call.timeout(Duration.ofSeconds(100));
            caller.submit(TestSessions.prompts(1, 1), 1, 0).call.await();
            assertBits(sessions.reference(LONG, TestSessions.prompts(1, 1), 1, null)[0], caller.image(0), "the call after");
        }
    }

    @Test
    void aCancelledCallGivesTheDeviceFreeAfterTheStep() {
        try (var session = engine.sampler(sessions.options(LONG, null).withMaxWait(Duration.ZERO)); var first = new Caller(session, 1); var second = new Caller(session, 1)) {
            session.warmUp();
            long start = System.nanoTime();
            first.submit(TestSessions.prompts(1, 1), 1, 0).call.await();
            long whole = System.nanoTime() - start;
            first.submit(TestSessions.prompts(1, 1), 1, 0);
            assertTrue(first.call.cancel());
            assertFalse(first.call.cancel(), "cancelled twice");
            assertThrows(CancelledException.class, first.call::await);
            assertThrows(IllegalStateException.class, first.call::await);
            start = System.nanoTime();
            second.submit(TestSessions.prompts(1, 2), 2, 0).call.await();
            assertTrue(System.nanoTime() - start < 1.7 * whole, "the next call took " + (System.nanoTime() - start) / 1000 + " microseconds, one takes " + whole / 1000);
            assertFalse(second.call.cancel(), "after the answer there is nothing to cancel");
        }
    }

    @Test
    void anInterruptCancelsAndStays() throws InterruptedException {
        try (var session = engine.sampler(sessions.options(LONG, null)); var caller = new Caller(session, 1)) {
            var seen = new AtomicInteger();
            Thread thread = Thread.ofVirtual().start(() -> {
                caller.submit(TestSessions.prompts(1, 1), 1, 0);
                try {
                    caller.call.await();
                } catch (CancelledException e) {
                    seen.set(Thread.currentThread().isInterrupted() ? 1 : 2);
                }
            });
            Thread.sleep(20);
            thread.interrupt();
            thread.join();
            assertEquals(1, seen.get());
        }
    }

    @Test
    void aFullQueueRefusesAtOnceOrWaitsUntilTheDeadline() {
        try (var session = engine.sampler(sessions.options(LONG, null).withQueue(2).withMaxBatch(1).withMaxWait(Duration.ZERO))) {
            session.warmUp();
            var running = new Caller(session, 1).submit(TestSessions.prompts(1, 0), 0, 0);
            while (session.queued() > 0) Thread.onSpinWait();
            try (var one = new Caller(session, 1).submit(TestSessions.prompts(1, 1), 1, 0); var two = new Caller(session, 1).submit(TestSessions.prompts(1, 2), 2, 0);
                 var late = new Caller(session, 1)) {
                assertEquals(2, session.queued());
                var refused = assertThrows(RefusedException.class, late.submit(TestSessions.prompts(1, 3), 3, 0).call::await);
                assertEquals("sampler: the queue is full with 2 calls", refused.getMessage());
                late.call.whenFull(WhenFull.WAIT);
                late.call.timeout(Duration.ofMillis(1));
                assertThrows(DeadlineException.class, late.submit(TestSessions.prompts(1, 3), 3, 0).call::await);
                late.call.timeout(Duration.ofSeconds(200));
                assertTrue(two.call.cancel());
                assertEquals(1, session.queued(), "a cancelled call leaves its place");
                late.submit(TestSessions.prompts(1, 3), 3, 0).call.await();
                assertThrows(CancelledException.class, two.call::await);
                one.call.await();
                running.call.await();
                running.close();
                assertBits(sessions.reference(LONG, TestSessions.prompts(1, 3), 3, null)[0], late.image(0), "the call that waited for room");
            }
        }
    }

    @Test
    void aLoraIsSwappedBetweenBatches() throws IOException {
        Path one = sessions.adapter(folder.resolve("one"), TestSessions.LORA, 1), two = sessions.adapter(folder.resolve("two"), TestSessions.LORA, 2);
        Path other = sessions.adapter(folder.resolve("other"), new LoraConfig(8, 8, LoraConfig.ATTENTION), 3);
        int[] prompts = TestSessions.prompts(2, 5);
        try (var session = engine.sampler(sessions.options(STEPS, TestSessions.LORA)); var caller = new Caller(session, 2)) {
            session.warmUp();
            Path[] order = {null, one, two, null, one};
            for (int i = 0; i < order.length; i++) {
                long version = i == 0 ? session.loraVersion() : order[i] == null ? session.swapToBase() : session.swapLora(order[i]);
                assertEquals(i, version);
                assertEquals(version, caller.submit(prompts, 11, 0).call.await());
                float[][] expected = sessions.reference(STEPS, prompts, 11, order[i]);
                for (int k = 0; k < 2; k++) assertBits(expected[k], caller.image(k), "image " + k + " of " + order[i]);
            }
            assertFalse(Arrays.equals(sessions.reference(STEPS, prompts, 11, one)[0], sessions.reference(STEPS, prompts, 11, two)[0]), "adapters that draw alike test nothing");
            var wrong = assertThrows(WeightsException.class, () -> session.swapLora(other));
            assertTrue(wrong.getMessage().contains("rank=8") && wrong.getMessage().contains("rank=4"), wrong.getMessage());
            assertEquals(4, caller.submit(prompts, 11, 0).call.await(), "the session goes on with what it had");
        }
        try (var session = engine.sampler(sessions.options(STEPS, null))) {
            assertThrows(IllegalStateException.class, () -> session.swapLora(one));
        }
    }

    @Test
    void closingServesWhatWasSubmittedAndAbortingAnswersIt() {
        for (boolean abort : new boolean[] {false, true}) {
            var session = engine.sampler(sessions.options(LONG / 10, null).withMaxBatch(1));
            session.warmUp();
            var callers = IntStream.range(0, 6).mapToObj(i -> new Caller(session, 1).submit(TestSessions.prompts(1, i), i, 0)).toList();
            if (abort) session.abort();
            else session.close();
            int served = 0;
            for (int i = 0; i < 6; i++) {
                Caller c = callers.get(i);
                assertTrue(c.call.isAnswered(), "closed, and a call has no answer");
                try {
                    c.call.await();
                    served++;
                    assertBits(sessions.reference(LONG / 10, TestSessions.prompts(1, i), i, null)[0], c.image(0), "call " + i);
                } catch (ClosedException e) {
                    assertTrue(abort, "closing drains");
                }
            }
            assertTrue(abort ? served < 6 : served == 6, served + " served");
            assertThrows(ClosedException.class, callers.getFirst().submit(TestSessions.prompts(1, 0), 0, 0).call::await);
            assertThrows(ClosedException.class, session::warmUp);
            session.close();
            callers.forEach(Caller::close);
            assertEquals(0, engine.deviceBytes(), "bytes of device memory after closing");
        }
    }

    /** 24 virtual threads and 1.5 seconds of everything at once. */
    @Test
    void underLoadEveryCallIsAnsweredOnceWithTheRightBits() throws Exception {
        Path[] adapters = {null, sessions.adapter(folder.resolve("one"), TestSessions.LORA, 1), sessions.adapter(folder.resolve("two"), TestSessions.LORA, 2)};
        int kinds = 6;
        var expected = new float[adapters.length][kinds][][];
        for (int a = 0; a < adapters.length; a++)
            for (int k = 0; k < kinds; k++) expected[a][k] = sessions.reference(STEPS, TestSessions.prompts(1 + k % 3, k), k, adapters[a]);
        for (boolean abort : new boolean[] {false, true}) {
            long seed = abort ? 2 : 1;
            var session = engine.sampler(sessions.options(STEPS, TestSessions.LORA).withQueue(5));
            session.warmUp();
            var adapterOf = new ConcurrentHashMap<Long, Integer>(Map.of(0L, 0));
            var fates = new ConcurrentHashMap<String, AtomicLong>();
            var wrong = new ConcurrentLinkedQueue<Throwable>();
            var submitted = new AtomicLong();
            long end = System.nanoTime() + 1_500_000_000L;
            var threads = new ArrayList<Thread>();
            for (int t = 0; t < 24; t++) {
                int number = t;
                threads.add(Thread.ofVirtual().start(() -> {
                    var random = new Random(seed * 100 + number);
                    int k = number % kinds, count = 1 + k % 3;
                    int[] prompts = TestSessions.prompts(count, k);
                    try (var caller = new Caller(session, count)) {
                        caller.call.whenFull(number % 2 == 0 ? WhenFull.WAIT : WhenFull.REFUSE);
                        boolean open = true;
                        while (open) {
                            caller.call.timeout(number % 3 == 0 ? Duration.ofMillis(1 + random.nextInt(6)) : Duration.ofSeconds(100));
                            caller.pixels.fill((byte) 7);
                            submitted.incrementAndGet();
                            caller.submit(prompts, k, 0);
                            Thread canceller = number % 5 == 0 ? Thread.startVirtualThread(() -> cancelSoon(caller.call, random.nextInt(4_000_000))) : null;
                            String fate = "served";
                            long version = -1;
                            try {
                                version = caller.call.await();
                            } catch (CallException e) {
                                fate = e.getClass().getSimpleName();
                                open = !(e instanceof ClosedException);
                                assertFalse(e instanceof DeviceException, e.getMessage());
                            }
                            if (canceller != null) canceller.join();
                            fates.computeIfAbsent(fate, _ -> new AtomicLong()).incrementAndGet();
                            if (version < 0) {
                                for (byte b : caller.pixels.toArray(ValueLayout.JAVA_BYTE)) assertEquals(7, b, "memory of a call that was not served: " + fate);
                            } else {
                                Integer adapter = adapterOf.get(version);
                                for (int i = 0; adapter == null && i < 1000; i++, adapter = adapterOf.get(version)) Thread.sleep(1);   // the swapper is about to say
                                for (int i = 0; i < count; i++) assertBits(expected[adapter][k][i], caller.image(i), "image " + i + " of kind " + k + ", version " + version);
                            }
                            if (fate.equals("RefusedException")) Thread.sleep(1);
                        }
                    } catch (Throwable e) {
                        wrong.add(e);
                    }
                }));
            }
            var random = new Random(seed);
            while (System.nanoTime() < end) {
                int a = random.nextInt(adapters.length);
                adapterOf.put(a == 0 ? session.swapToBase() : session.swapLora(adapters[a]), a);
                Thread.sleep(random.nextInt(10));
            }
            if (abort) session.abort();
            else session.close();
            for (Thread thread : threads) thread.join();
            assertTrue(wrong.isEmpty(), () -> wrong.size() + " threads failed, first: " + wrong.peek() + "\n" + Arrays.toString(wrong.peek().getStackTrace()));
            System.out.println((abort ? "aborted" : "drained") + ", seed " + seed + ": " + submitted + " calls, " + new TreeMap<>(fates) + ", " + session.loraVersion() + " swaps");
            assertEquals(submitted.get(), fates.values().stream().mapToLong(AtomicLong::get).sum(), "answers");
            for (String fate : List.of("served", "RefusedException", "CancelledException", "DeadlineException", "ClosedException"))
                assertTrue(fates.containsKey(fate), "no call met the fate " + fate + ": " + fates);
            assertTrue(session.loraVersion() > 5, "swaps: " + session.loraVersion());
            assertEquals(0, engine.deviceBytes(), "bytes of device memory after closing");
        }
    }

    @Test
    void wrongCallsAreToldAtOnce() {
        try (var session = engine.sampler(sessions.options(STEPS, null)); var caller = new Caller(session, 1); var confined = Arena.ofConfined(); var shared = Arena.ofShared()) {
            int[] unknown = TestSessions.prompts(1, 1);
            unknown[1] = TestSessions.VOCABULARY;
            assertEquals("token 1 of the prompts is 7; the model knows 0 to 6", assertThrows(IllegalArgumentException.class, () -> caller.submit(unknown, 1, 0)).getMessage());
            caller.prompts.fill((byte) 0);
            MemorySegment mine = confined.allocate(caller.pixels.byteSize()), small = shared.allocate(8);
            assertThrows(IllegalArgumentException.class, () -> caller.call.submit(caller.prompts, 1, 0, mine));
            assertThrows(IllegalArgumentException.class, () -> caller.call.submit(caller.prompts, 1, 0, small));
            assertThrows(IllegalArgumentException.class, () -> caller.call.submit(small, 1, 0, caller.pixels));
            assertThrows(IllegalArgumentException.class, () -> caller.call.submit(caller.prompts, 1, 0, caller.pixels.asReadOnly()));
            assertThrows(IllegalArgumentException.class, () -> caller.call.submit(caller.prompts, 1, -1, caller.pixels));
            assertThrows(IllegalArgumentException.class, () -> caller.call.timeout(Duration.ZERO));
            assertThrows(IllegalStateException.class, caller.call::await);
            caller.call.submit(caller.prompts, 1, 0, caller.pixels);
            assertThrows(IllegalStateException.class, () -> caller.call.submit(caller.prompts, 1, 0, caller.pixels));
            caller.call.await();
        }
    }

    @Test
    void memoryThatIsClosedMeanwhileFailsItsOwnCallOnly() {
        try (var session = engine.sampler(sessions.options(STEPS, null).withMaxWait(Duration.ofMillis(200))); var other = new Caller(session, 1)) {
            session.warmUp();
            var careless = new Caller(session, 1).submit(TestSessions.prompts(1, 1), 1, 0);
            other.submit(TestSessions.prompts(1, 2), 2, 0);
            careless.close();
            var failure = assertThrows(IllegalStateException.class, careless.call::await);
            assertTrue(failure.getMessage().contains("closed while it waited"), failure.getMessage());
            other.call.await();
            assertBits(sessions.reference(STEPS, TestSessions.prompts(1, 2), 2, null)[0], other.image(0), "the other call");
        }
    }

    /** A network whose forward fails on the device. */
    private static ModelSource broken(ModelSource whole) {
        return (device, stream, maxBatch) -> {
            var network = whole.open(device, stream, maxBatch);
            return new ModelSource.Network((VelocityModel) Proxy.newProxyInstance(VelocityModel.class.getClassLoader(), new Class<?>[] {VelocityModel.class}, (_, method, arguments) -> {
                if (method.getName().equals("velocity")) throw new GpuException("a kernel failed");
                return method.invoke(network.velocity(), arguments);
            }), network.vocabulary());
        };
    }

    @Test
    void whenTheDeviceFailsEveryCallIsTold() {
        var options = sessions.options(STEPS, null).withMaxWait(Duration.ofMillis(100));
        var session = engine.sampler(new SamplerOptions(broken(options.model()), options.steps(), 1, 4, 8, options.maxWait()));
        var callers = IntStream.range(0, 6).mapToObj(i -> new Caller(session, 2).submit(TestSessions.prompts(2, i), i, 0)).toList();
        for (Caller c : callers) assertTrue(assertThrows(DeviceException.class, c.call::await).getMessage().contains("a kernel failed"));
        var later = assertThrows(DeviceException.class, callers.getFirst().submit(TestSessions.prompts(2, 1), 1, 0).call::await);
        assertInstanceOf(GpuException.class, later.getCause());
        assertThrows(DeviceException.class, session::warmUp);
        assertEquals(0, engine.deviceBytes());
        callers.forEach(Caller::close);
    }

    @Test
    void aWarmUpThatFailsEndsTheSession() {
        var options = sessions.options(STEPS, null);
        var session = engine.sampler(new SamplerOptions(broken(options.model()), options.steps(), 1, 4, 8, options.maxWait()));
        assertThrows(DeviceException.class, session::warmUp);
        assertThrows(DeviceException.class, session::warmUp);
    }

    @Test
    void aSessionThatDoesNotFitSaysSoAndLeavesNothing() {
        var failure = assertThrows(GpuException.class, () -> engine.sampler(sessions.options(STEPS, null).withMaxBatch(4_000_000)));
        assertTrue(failure.getMessage().contains("OUT_OF_MEMORY"), failure.getMessage());
        assertEquals(0, engine.deviceBytes());
    }

    @Test
    void everyStageIsAnEvent() throws IOException {
        try (var recording = new Recording()) {
            for (String name : List.of("Queued", "BatchFormed", "Sampled", "Decoded", "Unserved")) recording.enable("dev.turningpoint." + name);
            recording.start();
            try (var session = engine.sampler(sessions.options(STEPS, null).withMaxWait(Duration.ofSeconds(100))); var a = new Caller(session, 2); var b = new Caller(session, 2)) {
                a.submit(TestSessions.prompts(2, 1), 1, 0).call.cancel();
                assertThrows(CancelledException.class, a.call::await);
                a.submit(TestSessions.prompts(2, 1), 1, 0);
                b.submit(TestSessions.prompts(2, 2), 2, 0).call.await();
                a.call.await();
            }
            recording.stop();
            Path file = folder.resolve("events.jfr");
            recording.dump(file);
            var counts = new TreeMap<String, Integer>();
            for (var event : RecordingFile.readAllEvents(file)) {
                counts.merge(event.getEventType().getName().substring("dev.turningpoint.".length()), 1, Integer::sum);
                if (event.getEventType().getName().endsWith("BatchFormed")) {
                    assertEquals(2, event.getInt("calls"));
                    assertEquals(4, event.getInt("rows"));
                }
                if (event.getEventType().getName().endsWith("Unserved")) assertEquals("cancelled", event.getString("outcome"));
            }
            assertEquals(Map.of("Queued", 3, "BatchFormed", 1, "Sampled", 1, "Decoded", 1, "Unserved", 1), counts);
        }
    }

    private static void cancelSoon(SamplerCall call, long nanos) {
        LockSupport.parkNanos(nanos);
        call.cancel();
    }

    private static void assertBits(float[] expected, float[] actual, String what) {
        var bits = new int[expected.length];
        for (int i = 0; i < bits.length; i++) bits[i] = Float.floatToRawIntBits(expected[i]);
        var others = new int[actual.length];
        for (int i = 0; i < others.length; i++) others[i] = Float.floatToRawIntBits(actual[i]);
        assertArrayEquals(bits, others, what);
    }
}
