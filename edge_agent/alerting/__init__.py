"""Scores to incidents to MQTT.

    incidents.IncidentTable      flagged flows → alerts; pure, `now_us` is an argument
    sinks.JsonLinesSink          alerts → JSON lines
    publisher.MqttPublisher      alerts → MQTT
    subscriber.AlertSubscriber   MQTT → alerts

Beneath the publisher: `outbox` (what waits, pure), `link` (one thread that keeps a session up),
`mqtt` (one session; the only file that imports paho), `address` (where the broker is).
"""
