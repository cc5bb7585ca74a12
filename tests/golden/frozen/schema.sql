CREATE VIEW job_search_names AS SELECT number, name || char(10, 10) AS name FROM job_names;
CREATE TRIGGER job_added
        AFTER INSERT ON jobs BEGIN
            INSERT INTO job_names (job_id, caller, kind, status, name)
                SELECT new.id, new.caller, new.kind, new.status, lower(new.name) WHERE new.name <> '';
            INSERT INTO job_changes (job_id, caller, kind_after, status_after)
                VALUES (new.id, new.caller, new.kind, new.status);
        END;
CREATE TRIGGER job_altered
        AFTER UPDATE OF id, caller, name, batch_id, created_at ON jobs
        WHEN (old.id, old.caller, old.name, old.batch_id, old.created_at)
            IS NOT (new.id, new.caller, new.name, new.batch_id, new.created_at) BEGIN
            DELETE FROM job_names WHERE job_id = old.id;
            INSERT INTO job_names (job_id, caller, kind, status, name)
                SELECT new.id, new.caller, new.kind, new.status, lower(new.name) WHERE new.name <> '';
            INSERT INTO job_changes (job_id) VALUES (NULL);
        END;
CREATE TRIGGER job_changes_kept
        AFTER INSERT ON job_changes BEGIN
            DELETE FROM job_changes WHERE sequence <= new.sequence - 4096;
        END;
CREATE TRIGGER job_moved
        AFTER UPDATE OF kind, status ON jobs
        WHEN old.kind IS NOT new.kind OR old.status IS NOT new.status BEGIN
            UPDATE job_names SET kind = new.kind, status = new.status WHERE job_id = new.id;
            INSERT INTO job_changes (job_id, caller, kind_before, status_before, kind_after, status_after)
                VALUES (new.id, new.caller, old.kind, old.status, new.kind, new.status);
        END;
CREATE TRIGGER job_name_added
        AFTER INSERT ON job_names BEGIN
            INSERT INTO job_search (rowid, name) VALUES (new.number, new.name || char(10, 10));
        END;
CREATE TRIGGER job_name_altered
        AFTER UPDATE OF number, name ON job_names BEGIN
            INSERT INTO job_search (job_search, rowid, name)
                VALUES ('delete', old.number, old.name || char(10, 10));
            INSERT INTO job_search (rowid, name) VALUES (new.number, new.name || char(10, 10));
        END;
CREATE TRIGGER job_name_removed
        AFTER DELETE ON job_names BEGIN
            INSERT INTO job_search (job_search, rowid, name)
                VALUES ('delete', old.number, old.name || char(10, 10));
        END;
CREATE TRIGGER job_removed
        AFTER DELETE ON jobs BEGIN
            DELETE FROM job_names WHERE job_id = old.id;
            INSERT INTO job_changes (job_id, caller, kind_before, status_before)
                VALUES (old.id, old.caller, old.kind, old.status);
        END;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE assets (
	id VARCHAR NOT NULL, 
	caller VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	filename VARCHAR NOT NULL, 
	content_type VARCHAR NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	width INTEGER NOT NULL, 
	height INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, starred_at DATETIME, 
	CONSTRAINT pk_assets PRIMARY KEY (id), 
	CONSTRAINT uq_assets_caller UNIQUE (caller, sha256)
);
CREATE TABLE deliveries (
	id VARCHAR NOT NULL, 
	caller VARCHAR NOT NULL, 
	webhook_id VARCHAR NOT NULL, 
	receiver VARCHAR NOT NULL, 
	job_id VARCHAR NOT NULL, 
	job_version INTEGER NOT NULL, 
	event VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	snapshot JSON, 
	body VARCHAR, 
	state VARCHAR NOT NULL, 
	attempts INTEGER NOT NULL, 
	next_at DATETIME, 
	until DATETIME NOT NULL, 
	CONSTRAINT pk_deliveries PRIMARY KEY (id), 
	CONSTRAINT fk_deliveries_webhook_id_webhooks FOREIGN KEY(webhook_id) REFERENCES webhooks (id) ON DELETE CASCADE
);
CREATE TABLE delivery_attempts (
	delivery_id VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	started_at DATETIME NOT NULL, 
	seconds DOUBLE NOT NULL, 
	status INTEGER, 
	error VARCHAR, 
	answer VARCHAR, 
	CONSTRAINT pk_delivery_attempts PRIMARY KEY (delivery_id, number), 
	CONSTRAINT fk_delivery_attempts_delivery_id_deliveries FOREIGN KEY(delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE
);
CREATE TABLE flows (
	line VARCHAR NOT NULL, 
	priority INTEGER NOT NULL, 
	caller VARCHAR NOT NULL, 
	virtual_start DOUBLE NOT NULL, 
	virtual_finish DOUBLE NOT NULL, 
	CONSTRAINT pk_flows PRIMARY KEY (line, priority, caller)
);
CREATE TABLE idempotency_keys (
	caller VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	request_sha256 VARCHAR NOT NULL, 
	answer JSON, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_idempotency_keys PRIMARY KEY (caller, "key")
);
CREATE TABLE inbox (
	event_id VARCHAR NOT NULL, 
	received_at DATETIME NOT NULL, 
	CONSTRAINT pk_inbox PRIMARY KEY (event_id)
);
CREATE TABLE installation (
	id VARCHAR NOT NULL, 
	is_confirmed BOOLEAN NOT NULL, 
	from_first_release BOOLEAN NOT NULL, 
	created_at DATETIME NOT NULL, held_until DATETIME, restored_at DATETIME, known_until DATETIME, needs_token BOOLEAN DEFAULT '0' NOT NULL, share_secret VARCHAR, 
	CONSTRAINT pk_installation PRIMARY KEY (id)
);
CREATE TABLE job_attempts (
	job_id VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	worker_id VARCHAR, 
	device VARCHAR, 
	resumed_from_step INTEGER, 
	started_at DATETIME, 
	ended_at DATETIME, 
	outcome VARCHAR, numerics VARCHAR, is_exact BOOLEAN, 
	CONSTRAINT pk_job_attempts PRIMARY KEY (job_id, number), 
	CONSTRAINT fk_job_attempts_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
CREATE TABLE job_changes (
	sequence INTEGER NOT NULL, 
	job_id VARCHAR, 
	caller VARCHAR, 
	kind_before VARCHAR, 
	status_before VARCHAR, 
	kind_after VARCHAR, 
	status_after VARCHAR, 
	CONSTRAINT pk_job_changes PRIMARY KEY (sequence)
);
CREATE TABLE job_checkpoints (
	job_id VARCHAR NOT NULL, 
	step INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	"key" VARCHAR NOT NULL, 
	picture_key VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	losses JSON NOT NULL, 
	created_at DATETIME NOT NULL, curve JSON DEFAULT '[]' NOT NULL, numerics VARCHAR, 
	CONSTRAINT pk_job_checkpoints PRIMARY KEY (job_id, step), 
	CONSTRAINT fk_job_checkpoints_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
CREATE TABLE job_events (
	job_id VARCHAR NOT NULL, 
	sequence INTEGER NOT NULL, 
	type VARCHAR NOT NULL, 
	data JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_job_events PRIMARY KEY (job_id, sequence), 
	CONSTRAINT fk_job_events_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
CREATE TABLE job_labels (
	job_id VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	CONSTRAINT pk_job_labels PRIMARY KEY (job_id, "key"), 
	CONSTRAINT fk_job_labels_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
CREATE TABLE job_names (
	number INTEGER NOT NULL, 
	job_id VARCHAR NOT NULL, 
	caller VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	CONSTRAINT pk_job_names PRIMARY KEY (number), 
	CONSTRAINT uq_job_names_job_id UNIQUE (job_id)
);
CREATE VIRTUAL TABLE job_search USING fts5(
            name, content='job_search_names', content_rowid='number', columnsize=0,
            tokenize='trigram case_sensitive 1'
        );
CREATE VIRTUAL TABLE job_search_terms USING fts5vocab('job_search', 'row');
CREATE TABLE job_shares (
	job_id VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	CONSTRAINT pk_job_shares PRIMARY KEY (job_id), 
	CONSTRAINT fk_job_shares_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
CREATE TABLE jobs (
	id VARCHAR NOT NULL, 
	caller VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	status_reason VARCHAR, 
	version INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	max_attempts INTEGER NOT NULL, 
	priority INTEGER NOT NULL, 
	batch_id VARCHAR, 
	content_asset_id VARCHAR NOT NULL, 
	style_asset_id VARCHAR NOT NULL, 
	options JSON NOT NULL, 
	weights JSON, 
	engine_version VARCHAR, 
	created_at DATETIME NOT NULL, 
	queued_at DATETIME NOT NULL, 
	dispatched_at DATETIME, 
	started_at DATETIME, 
	completed_at DATETIME, 
	worker_id VARCHAR, 
	device VARCHAR, 
	resumed_from_step INTEGER, 
	step INTEGER NOT NULL, 
	losses JSON, 
	outputs JSON NOT NULL, 
	error JSON, 
	metrics JSON NOT NULL, lost_workers INTEGER DEFAULT '0' NOT NULL, checkpoints_since INTEGER DEFAULT '1' NOT NULL, origin JSON, work_sha256 VARCHAR, leader_id VARCHAR, queue_deadline DATETIME, run_timeout_seconds DOUBLE, queue_rank INTEGER DEFAULT '0' NOT NULL, kind VARCHAR DEFAULT 'job' NOT NULL, route VARCHAR DEFAULT 'any' NOT NULL, numerics VARCHAR, is_exact BOOLEAN, pinned_to VARCHAR, traceparent VARCHAR, virtual_start DOUBLE DEFAULT '0' NOT NULL, estimated_seconds DOUBLE DEFAULT '0' NOT NULL, sends INTEGER DEFAULT '1' NOT NULL, 
	CONSTRAINT pk_jobs PRIMARY KEY (id), 
	CONSTRAINT fk_jobs_content_asset_id_assets FOREIGN KEY(content_asset_id) REFERENCES assets (id), 
	CONSTRAINT fk_jobs_style_asset_id_assets FOREIGN KEY(style_asset_id) REFERENCES assets (id)
);
CREATE TABLE metric_totals (
	name VARCHAR NOT NULL, 
	labels VARCHAR NOT NULL, 
	value DOUBLE NOT NULL, 
	CONSTRAINT pk_metric_totals PRIMARY KEY (name, labels)
);
CREATE TABLE sessions (
	sha256 VARCHAR NOT NULL, 
	token_id VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME NOT NULL, 
	CONSTRAINT pk_sessions PRIMARY KEY (sha256), 
	CONSTRAINT fk_sessions_token_id_tokens FOREIGN KEY(token_id) REFERENCES tokens (id) ON DELETE CASCADE
);
CREATE TABLE tokens (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	caller VARCHAR NOT NULL, 
	scopes VARCHAR NOT NULL, 
	shown VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME, 
	revoked_at DATETIME, 
	last_used_at DATETIME, 
	CONSTRAINT pk_tokens PRIMARY KEY (id), 
	CONSTRAINT uq_tokens_sha256 UNIQUE (sha256)
);
CREATE TABLE webhook_secrets (
	id VARCHAR NOT NULL, 
	webhook_id VARCHAR NOT NULL, 
	secret VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME, 
	CONSTRAINT pk_webhook_secrets PRIMARY KEY (id), 
	CONSTRAINT fk_webhook_secrets_webhook_id_webhooks FOREIGN KEY(webhook_id) REFERENCES webhooks (id) ON DELETE CASCADE
);
CREATE TABLE webhooks (
	id VARCHAR NOT NULL, 
	caller VARCHAR NOT NULL, 
	name VARCHAR, 
	job_id VARCHAR, 
	url VARCHAR, 
	events VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	CONSTRAINT pk_webhooks PRIMARY KEY (id), 
	CONSTRAINT uq_webhooks_caller UNIQUE (caller, name)
);
CREATE INDEX ix_assets_caller_id ON assets (caller, id);
CREATE INDEX ix_assets_caller_starred_at ON assets (caller, starred_at);
CREATE INDEX ix_assets_sha256 ON assets (sha256);
CREATE INDEX ix_deliveries_caller_id ON deliveries (caller, id);
CREATE INDEX ix_deliveries_job_id ON deliveries (job_id);
CREATE INDEX ix_deliveries_pending ON deliveries (receiver, next_at) WHERE state = 'pending';
CREATE INDEX ix_deliveries_state_created_at ON deliveries (state, created_at);
CREATE INDEX ix_deliveries_webhook_id ON deliveries (webhook_id);
CREATE INDEX ix_flows_virtual_start ON flows (line, priority, virtual_start);
CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);
CREATE INDEX ix_inbox_received_at ON inbox (received_at);
CREATE INDEX ix_job_labels_key_value_job_id ON job_labels ("key", value, job_id);
CREATE INDEX ix_job_names_newest ON job_names (caller, kind, job_id, status, name);
CREATE INDEX ix_jobs_age ON jobs (caller, kind, created_at, id);
CREATE INDEX ix_jobs_batch_id ON jobs (batch_id);
CREATE INDEX ix_jobs_caller_kind_id ON jobs (caller, kind, id);
CREATE INDEX ix_jobs_caller_kind_status_id ON jobs (caller, kind, status, id);
CREATE INDEX ix_jobs_content_asset_id ON jobs (content_asset_id);
CREATE INDEX ix_jobs_flow ON jobs (caller, route, queue_rank, virtual_start) WHERE status = 'queued' AND leader_id IS NULL;
CREATE INDEX ix_jobs_leader_id ON jobs (leader_id);
CREATE INDEX ix_jobs_line ON jobs (route, queue_rank, virtual_start, created_at, id) WHERE status = 'queued' AND leader_id IS NULL;
CREATE INDEX ix_jobs_queue ON jobs (status, leader_id, route, dispatched_at, queue_rank, virtual_start, created_at, id);
CREATE INDEX ix_jobs_recent ON jobs (route, completed_at) WHERE status = 'succeeded' AND started_at IS NOT NULL;
CREATE INDEX ix_jobs_route_started_at ON jobs (route, started_at);
CREATE INDEX ix_jobs_runs ON jobs (route, created_at) WHERE status = 'succeeded' AND kind = 'job' AND attempt = 1 AND resumed_from_step IS NULL AND origin IS NULL;
CREATE INDEX ix_jobs_started_at ON jobs (started_at);
CREATE INDEX ix_jobs_status_completed_at ON jobs (status, completed_at);
CREATE INDEX ix_jobs_status_created_at ON jobs (status, created_at);
CREATE INDEX ix_jobs_status_queue_deadline ON jobs (status, queue_deadline);
CREATE INDEX ix_jobs_style_asset_id ON jobs (style_asset_id);
CREATE INDEX ix_jobs_waiting ON jobs (kind, queued_at) WHERE status = 'queued' AND leader_id IS NULL;
CREATE INDEX ix_jobs_work_sha256 ON jobs (work_sha256);
CREATE INDEX ix_sessions_token_id ON sessions (token_id);
CREATE INDEX ix_webhook_secrets_webhook_id ON webhook_secrets (webhook_id);
CREATE INDEX ix_webhooks_caller_job_id ON webhooks (caller, job_id);
