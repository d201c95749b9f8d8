-- Whose session a run is for; '' is the project's own.
ALTER TABLE runs ADD COLUMN agent TEXT NOT NULL DEFAULT '';

-- The family that was open last: the run that it began with.
ALTER TABLE threads ADD COLUMN family TEXT NOT NULL DEFAULT '';
