/**
 * The service example: the JDK's HTTP server in front of a sampler session, and an open-loop load for it.
 * It uses {@code dev.turningpoint.embed} as any service would, and HdrHistogram for latencies.
 * Words come in with a request, a PNG goes out; a report of latencies goes to whoever runs the load.
 */
package dev.turningpoint.bench.service;
