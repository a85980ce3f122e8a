-- projections: a log without events needs nothing of what the migrations before made for the read models. What serves is
-- made at the start of the program that it serves (projections/src/generations), in the form that its code has.
DO $$
DECLARE
    of record;
BEGIN
    IF EXISTS (SELECT FROM log.clock WHERE position > 0) THEN
        RETURN;
    END IF;
    FOR of IN DELETE FROM read.models RETURNING schema LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', of.schema);
    END LOOP;
END $$;
