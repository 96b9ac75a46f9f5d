`twistd holepunch --registry file:PATH` keeps which name belongs to which key over a restart.
