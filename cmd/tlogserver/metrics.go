package main

import (
	"errors"
	"net"
	"net/http"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tlog/internal/failpoint"
	"tlog/server"
)

// metric is one of the server's numbers, as Prometheus names it.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func() float64
}

// collector reads the server's numbers when it is asked.
type collector []metric

// Describe names the metrics.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range c {
		to <- m.desc
	}
}

// Collect reads them.
func (c collector) Collect(to chan<- prometheus.Metric) {
	for _, m := range c {
		to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value())
	}
}

func newCollector(s *server.Server) collector {
	var c collector
	add := func(name, help string, kind prometheus.ValueType, value func() float64) {
		c = append(c, metric{prometheus.NewDesc(name, help, nil, nil), kind, value})
	}
	count := func(name, help string, load func() uint64) {
		add(name, help, prometheus.CounterValue, func() float64 { return float64(load()) })
	}
	m := &s.Metrics
	add("tlog_connections", "Connections that are open.", prometheus.GaugeValue, func() float64 { return float64(m.Connections.Load()) })
	add("tlog_vdisks", "Vdisks that this server owns.", prometheus.GaugeValue, func() float64 { return float64(s.Vdisks()) })
	add("tlog_memory_budget_used_bytes", "Bytes of received records that are not sealed yet.", prometheus.GaugeValue, func() float64 { used, _ := s.BudgetInUse(); return float64(used) })
	add("tlog_memory_budget_bytes", "What tlog_memory_budget_used_bytes may reach.", prometheus.GaugeValue, func() float64 { _, size := s.BudgetInUse(); return float64(size) })
	count("tlog_connections_refused_total", "Connections closed because too many were open.", m.ConnectionsRefused.Load)
	count("tlog_handshakes_total", "Clients attached.", m.Handshakes.Load)
	count("tlog_handshakes_failed_total", "Handshakes refused or never completed.", m.HandshakesFailed.Load)
	count("tlog_records_total", "Records accepted.", m.Records.Load)
	count("tlog_timestamps_clamped_total", "Version-1 blocks whose clock stepped back or ran ahead.", m.TimestampsClamped.Load)
	count("tlog_received_bytes_total", "Bytes of messages with records.", m.ReceivedBytes.Load)
	count("tlog_protocol_errors_total", "Sessions ended for what their client sent.", m.ProtocolErrors.Load)
	count("tlog_owners_failed_total", "Vdisks let go of because their log could not be written.", m.OwnersFailed.Load)
	add("tlog_short_positions", "Positions with fewer good shards than they should have.", prometheus.GaugeValue, func() float64 { return float64(s.Care().Short) })
	add("tlog_lost_positions", "Positions with fewer good shards than reading needs.", prometheus.GaugeValue, func() float64 { return float64(s.Care().Lost) })
	add("tlog_scrub_age_seconds", "Since every shard of each vdisk was last read and checked, or the vdisk was taken over.", prometheus.GaugeValue, func() float64 { return s.Care().ScrubAge.Seconds() })
	add("tlog_repair_eta_seconds", "Until the repair or scrub that runs is done; 0: none runs.", prometheus.GaugeValue, func() float64 { return s.Care().ETA.Seconds() })
	count("tlog_repaired_shards_total", "Shards written again because they were missing or damaged.", m.RepairedShards.Load)
	count("tlog_checked_positions_total", "Positions whose shards repair or scrub has read.", m.CheckedPositions.Load)
	return c
}

// goCollector is the Go runtime's numbers: memory, garbage collection, goroutines.
func goCollector() prometheus.Collector {
	return collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
		collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/cpu/classes/gc/total:cpu-seconds$`)}))
}

// serveMetrics answers at /metrics until the result is called.
func (o *options) serveMetrics(s *server.Server) (stop func(), err error) {
	if o.metricsListen == "" {
		return func() {}, nil
	}
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{newCollector(s), goCollector()} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	ln, err := net.Listen("tcp", o.metricsListen)
	if err != nil {
		return nil, err
	}
	o.log.Info("metrics", "url", "http://"+ln.Addr().String()+"/metrics")
	mux := http.NewServeMux()
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "collect" {
			failpoint.Collect()
		}
		metrics.ServeHTTP(w, r)
	})
	h := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := h.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			o.log.Error("metrics end", "err", err)
		}
	}()
	return func() { _ = h.Close(); <-served }, nil
}
