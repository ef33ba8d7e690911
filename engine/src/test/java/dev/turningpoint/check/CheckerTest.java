package dev.turningpoint.check;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.weights.SafetensorsFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The reference data within its tolerances on the device, and that a wrong value, a broken file and an unknown one do not pass for right. */
class CheckerTest {
    @TempDir Path folder;

    private static Path goldens() {
        try {
            return Path.of(CheckerTest.class.getResource("/goldens").toURI());
        } catch (java.net.URISyntaxException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void everyServedGroupLiesWithinItsTolerance() throws IOException {
        Results results = Checker.run(goldens());
        assertTrue(results.ok(), results::table);
        assertEquals(Set.of("schedules", "sde_step", "trajectory_*", "credit_n*", "credit_microbatch", "credit_ties", "grpo_loss_*", "optimizer", "ema", "sd3_tiny", "flux_tiny", "peft_lora"),
                results.rows().stream().map(Results.Row::family).collect(Collectors.toCollection(TreeSet::new)), results::table);
        assertTrue(results.rows().stream().mapToInt(Results.Row::tensors).sum() > 1000, results::table);
        assertEquals(Set.of(), results.notServed().keySet(), results::table);
        assertEquals(Set.of("grpo_loss_*", "sd3_tiny", "flux_tiny"), results.notCompared().keySet(), results::table);
    }

    @ParameterizedTest
    @CsvSource({"schedules, sd3.T10.sigmas, 3, 1e-6", "sde_step, sd3T10.cps.nl0.7.logp, 2, 1e-4", "sde_step, fluxT6.sde.nl0.8.next, 17, 1e-3",
        "trajectory_sd3_mlp_cps_cfg_w9, ode5.image, 9, 1e-3", "credit_n5, paper.reward, 100, 1e-6", "credit_n5, def41_nobal.adv_groupstd, 7, 1e-7",
        "credit_n5, paper.adv_nogroup, 40, 1e-4",
        "credit_ties, def51_nobal.indicator, 11, 1", "grpo_loss_sd3_cps_mixed, clip0.2.beta0.04.policy_loss, 0, 1e-3", "grpo_loss_flux_sde_mixed, mean, 7, 1e-3", "optimizer, p1.exp_avg_sq3, 4, 1e-2",
        "ema, p0.ema, 699, 1e-4"})
    void aChangedValueFails(String file, String tensor, int element, double change) throws IOException {
        Path copy = corrupt(file, tensor, element, change);
        Results results = Checker.run(folder);
        assertFalse(results.ok(), results::table);
        List<Results.Row> failed = results.rows().stream().filter(r -> !r.ok()).toList();
        assertTrue(failed.getFirst().where().contains(tensor), results::table);
        assertTrue(results.table().contains("FAIL"), results::table);
        Files.delete(copy);
    }

    @Test
    void aBrokenFileFailsAndAnUnknownOneDoesNotPass() throws IOException {
        Files.write(folder.resolve("ema.safetensors"), java.util.Arrays.copyOf(Files.readAllBytes(goldens().resolve("ema.safetensors")), 5000));
        Files.copy(goldens().resolve("optimizer.safetensors"), folder.resolve("something_else.safetensors"));
        Results results = Checker.run(folder);
        assertFalse(results.ok());
        assertTrue(results.defects().getFirst().contains("ema.safetensors"), results::table);
        assertEquals(Set.of("something_else"), results.notServed().keySet());
        assertTrue(results.rows().isEmpty());
    }

    /** A copy of a file in {@link #folder} with {@code change} (relative, or absolute at 0) added to one element. */
    private Path corrupt(String file, String tensor, int element, double change) throws IOException {
        Path source = goldens().resolve(file + ".safetensors"), copy = folder.resolve(file + ".safetensors");
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(source)).order(ByteOrder.LITTLE_ENDIAN);
        try (var safetensors = SafetensorsFile.open(source)) {
            var info = safetensors.info(tensor);
            int at = Math.toIntExact(8 + bytes.getLong(0) + info.begin() + element * (long) info.type().bytes());
            if (info.type().bytes() == 4) bytes.putFloat(at, (float) changed(bytes.getFloat(at), change));
            else bytes.putDouble(at, changed(bytes.getDouble(at), change));
        }
        return Files.write(copy, bytes.array());
    }

    private static double changed(double value, double change) { return value == 0 ? change : value * (1 + change); }
}
