package dev.turningpoint.embed;

import jdk.jfr.Category;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** A batch went from noise to latents on the device. */
@Name("dev.turningpoint.Sampled")
@Label("Batch sampled")
@Category("TurningPoint")
@StackTrace(false)
final class Sampled extends Event {
    private static final Sampled PROBE = new Sampled();

    @Label("Session") String session;
    @Label("Rows") int rows;
    @Label("LoRA version") long version;

    /** Begins one; null while events are off. */
    static Sampled start() {
        if (!PROBE.isEnabled()) return null;
        var event = new Sampled();
        event.begin();
        return event;
    }

    static void end(Sampled event, Session session, int rows, long version) {
        if (event == null) return;
        event.session = session.toString();
        event.rows = rows;
        event.version = version;
        event.commit();
    }
}
