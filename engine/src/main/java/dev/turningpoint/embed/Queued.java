package dev.turningpoint.embed;

import jdk.jfr.Category;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** A call got a place in the queue. */
@Name("dev.turningpoint.Queued")
@Label("Call queued")
@Category("TurningPoint")
@StackTrace(false)
final class Queued extends Event {
    private static final Queued PROBE = new Queued();

    @Label("Session") String session;
    @Label("Rows") int rows;
    @Label("Calls in the queue") int depth;

    static void commit(Session session, int rows, int depth) {
        if (!PROBE.isEnabled()) return;   // off, it costs a load and makes no object
        var event = new Queued();
        event.session = session.toString();
        event.rows = rows;
        event.depth = depth;
        event.commit();
    }
}
