package dev.turningpoint.softgpu.jit;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.management.ManagementFactory;
import javax.management.ObjectName;
import org.junit.jupiter.api.Test;

class CompilerDirectivesTest {
    @Test
    void theJvmHasThem() throws Exception {
        CompilerDirectives.give();
        String all = "";
        for (long end = System.nanoTime() + 30_000_000_000L; !all.contains("dev/turningpoint/softgpu/jit/*.*") && System.nanoTime() < end; Thread.sleep(20))
            all = (String) ManagementFactory.getPlatformMBeanServer().invoke(new ObjectName("com.sun.management:type=DiagnosticCommand"), "compilerDirectivesPrint", null, null);
        assertTrue(all.contains("dev/turningpoint/softgpu/jit/*.*"), all);
        String c2 = all.substring(all.indexOf("dev/turningpoint/softgpu/jit/*.*"));
        assertTrue(c2.substring(c2.indexOf("c2 directives")).contains("Exclude:true"), all);
    }
}
