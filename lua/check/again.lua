-- The command that shows again what went wrong in the small world: for who runs moonphase check, and for who reads that a reload was
-- refused (and has nothing of the walk in memory).

-- dir: the folder (nil: the built-in one); settings_path: of the administrator's, or nil; replay: a failure's, as walk.lua has it.
return function(dir, settings_path, replay)
  return ("moonphase check%s%s --only load,states --replay '%s'"):format(dir and " " .. dir or "",
    settings_path and " --settings " .. settings_path or "", replay)
end
